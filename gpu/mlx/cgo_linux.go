package mlx

// MLX's Linux wheel brings reference BLAS; blas_linux.c puts OpenBLAS in front of it.

/*
#cgo CFLAGS: -I${SRCDIR}/../../.deps/mlxc/include -I${SRCDIR}/../../.deps/openblas/scipy_openblas32/include -O2
#cgo LDFLAGS: ${SRCDIR}/../../.deps/mlxc/lib/libmlxc.a -L${SRCDIR}/../../.deps/mlx/mlx/lib -lmlx -lstdc++ -lm
#cgo LDFLAGS: -ldl -lpthread
#cgo LDFLAGS: -Wl,-rpath,${SRCDIR}/../../.deps/mlx/mlx/lib -Wl,-rpath,${SRCDIR}/../../.deps/openblas/scipy_openblas32/lib
*/
import "C"
