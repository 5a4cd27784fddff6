package mlx

/*
#cgo CFLAGS: -I${SRCDIR}/../../.deps/mlxc/include -O2
#cgo LDFLAGS: ${SRCDIR}/../../.deps/mlxc/lib/libmlxc.a -L${SRCDIR}/../../.deps/mlx/mlx/lib -lmlx -lc++
#cgo LDFLAGS: -Wl,-rpath,${SRCDIR}/../../.deps/mlx/mlx/lib
*/
import "C"
