// The CBLAS entry points that libmlx imports, answered by OpenBLAS.
//
// libmlx's wheel is linked against reference BLAS, which is 15 to 50 times slower. Symbols of
// the executable come first in the dynamic linker's search, so these definitions win. The
// OpenBLAS build used here prefixes its own symbols with scipy_.

#include "cblas.h"

#if defined(__GNUC__)
#define EXPORTED __attribute__((visibility("default"), used))
#endif

EXPORTED void cblas_sgemm(
    enum CBLAS_ORDER order,
    enum CBLAS_TRANSPOSE trans_a,
    enum CBLAS_TRANSPOSE trans_b,
    blasint m,
    blasint n,
    blasint k,
    float alpha,
    const float* a,
    blasint lda,
    const float* b,
    blasint ldb,
    float beta,
    float* c,
    blasint ldc) {
  // One row times a row-major transposed weight is a matrix-vector product. gemm would first
  // pack the whole weight; gemv streams it once.
  if (m == 1 && order == CblasRowMajor && trans_a == CblasNoTrans) {
    if (trans_b == CblasTrans) {
      scipy_cblas_sgemv(CblasRowMajor, CblasNoTrans, n, k, alpha, b, ldb, a, 1, beta, c, 1);
    } else {
      scipy_cblas_sgemv(CblasRowMajor, CblasTrans, k, n, alpha, b, ldb, a, 1, beta, c, 1);
    }
    return;
  }
  scipy_cblas_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

EXPORTED void cblas_dgemm(
    enum CBLAS_ORDER order,
    enum CBLAS_TRANSPOSE trans_a,
    enum CBLAS_TRANSPOSE trans_b,
    blasint m,
    blasint n,
    blasint k,
    double alpha,
    const double* a,
    blasint lda,
    const double* b,
    blasint ldb,
    double beta,
    double* c,
    blasint ldc) {
  scipy_cblas_dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

EXPORTED void cblas_cgemm(
    enum CBLAS_ORDER order,
    enum CBLAS_TRANSPOSE trans_a,
    enum CBLAS_TRANSPOSE trans_b,
    blasint m,
    blasint n,
    blasint k,
    const void* alpha,
    const void* a,
    blasint lda,
    const void* b,
    blasint ldb,
    const void* beta,
    void* c,
    blasint ldc) {
  scipy_cblas_cgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
