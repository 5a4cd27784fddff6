// The BLAS that libmlx computes float32 products with on Linux.
#ifndef MLX_WORKER_BLAS_LINUX_H
#define MLX_WORKER_BLAS_LINUX_H

#ifdef __cplusplus
extern "C" {
#endif

// Loads OpenBLAS; before any product, once or more often, not from several threads at once.
// Returns NULL, or the dynamic linker's words.
const char* blas_load(void);

// Sets how many threads share a product, the caller's included; at least 1. Threads are started
// once and live as long as the process. Not safe during a product.
void blas_set_threads(int n);

// Calls run(job, first, count) for parts of [0, n) of piece each (the last may be smaller), on all
// threads that products have, and returns when all are done. Which thread does which part is not
// said.
void blas_share(void (*run)(const void* job, int first, int count), const void* job, int n, int piece);

// The size of pieces for blas_share that n columns are cut into: about 16 pieces, in steps of 16 columns,
// of least to most.
int blas_piece_of(int n, int least, int most);

// Computes c = a @ bᵀ on the calling thread alone, for dense a [m, k] and b [n, k] and rows of c that are
// ldc apart.
void blas_multiply(int m, int n, int k, const float* a, const float* b, float* c, long ldc);

#ifdef __cplusplus
}
#endif

#endif
