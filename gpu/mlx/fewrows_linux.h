// Products of few rows with a transposed matrix, the products of decoding.
#ifndef MLX_WORKER_FEWROWS_LINUX_H
#define MLX_WORKER_FEWROWS_LINUX_H

#include <stdbool.h>

enum {
  // Up to so many rows few_rows is faster than OpenBLAS, which packs the matrix first.
  few_rows_most = 32,
};

// Whether this processor can run few_rows.
bool few_rows_supported(void);

// c = alpha * a @ bᵀ + beta * c for a [m, k], b [n, k], c [m, n], with rows lda, ldb and ldc apart.
struct few_rows_product {
  int m, n, k;
  float alpha, beta; // with beta 0, c is not read
  const float *a, *b;
  float* c;
  long lda, ldb, ldc;
};

// Computes a product. An element's sum is in the same order whatever m, n and its place are: a row
// has the same result, bit for bit, alone and beside others.
void few_rows(struct few_rows_product p);

#endif
