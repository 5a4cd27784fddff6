/*
 * Gives MLX's Linux wheel the OpenBLAS that the worker uses.
 *
 * The wheel carries the reference BLAS, many times slower. Preloaded into the Python process, these definitions
 * (all that libmlx imports from CBLAS) come first in symbol resolution and forward to the OpenBLAS of the PyPI
 * package scipy-openblas32, whose symbols carry the prefix "scipy_".
 *
 * The arguments are CBLAS's own: enumerations passed as int, sizes as int (the LP64 interface).
 */

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

void scipy_cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                       int lda, const float *b, int ldb, float beta, float *c, int ldc);
void scipy_cblas_sgemv(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x,
                       int inc_x, float beta, float *y, int inc_y);
void scipy_cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a,
                       int lda, const double *b, int ldb, double beta, double *c, int ldc);
void scipy_cblas_cgemm(int order, int trans_a, int trans_b, int m, int n, int k, const void *alpha,
                       const void *a, int lda, const void *b, int ldb, const void *beta, void *c, int ldc);

void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
  /* One row, as in every decode step: OpenBLAS's sgemv reads the weights about twice as fast as its sgemm. */
  if (order == ROW_MAJOR && m == 1 && trans_a == NO_TRANS) {
    if (trans_b == TRANS) {
      scipy_cblas_sgemv(order, NO_TRANS, n, k, alpha, b, ldb, a, 1, beta, c, 1);
      return;
    }
    if (trans_b == NO_TRANS) {
      scipy_cblas_sgemv(order, TRANS, k, n, alpha, b, ldb, a, 1, beta, c, 1);
      return;
    }
  }
  scipy_cblas_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void cblas_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int lda,
                 const double *b, int ldb, double beta, double *c, int ldc) {
  scipy_cblas_dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void cblas_cgemm(int order, int trans_a, int trans_b, int m, int n, int k, const void *alpha, const void *a,
                 int lda, const void *b, int ldb, const void *beta, void *c, int ldc) {
  scipy_cblas_cgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
