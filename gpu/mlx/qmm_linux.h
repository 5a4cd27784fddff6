// Products with affinely quantised matrices in MLX's layout, without a dense copy of them.
#ifndef MLX_WORKER_QMM_LINUX_H
#define MLX_WORKER_QMM_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum qmm_isa { qmm_none, qmm_avx2, qmm_avx512 }; // each can run what those before it can

enum qmm_scale_type { qmm_float32, qmm_float16, qmm_bfloat16 };

// The best that this processor can run.
enum qmm_isa qmm_supported(void);

// x @ wᵀ for x [m, k] and w [n, k]. Row j of w is k codes of bits (2, 3, 4, 5, 6 or
// 8) each, the first in the lowest bits of the first byte, and stands for
// scales[j][i / group] * code + biases[j][i / group]. group is a multiple of 32 and divides k.
struct qmm {
  int m, k;
  int bits, group;
  const float* x; // as qmm_arrange leaves it
  const uint8_t* w;
  const void *scales, *biases; // [n, k / group] of scale_type
  enum qmm_scale_type scale_type;
  float* y; // rows are ldy apart
  long ldy;
  enum qmm_isa isa;
};

// qmm_arrange writes rows of k numbers in the order in which the codes of isa come.
void qmm_arrange(enum qmm_isa isa, int bits, const float* x, float* arranged, size_t rows, int k);

// Whether qmm_arrange changes anything.
bool qmm_arranges(int bits);

// qmm_columns computes columns [first, first + count) of the product, of which the first is y's. An element's sum is in the same order
// whatever m and its place are, as long as m is at most qmm_same_rows: a row has the same result,
// bit for bit, alone and beside others. Threads may compute different columns at the same time.
void qmm_columns(const struct qmm* p, int first, int count);

enum {
  // From more rows on, OpenBLAS multiplies by columns that were dequantised for it.
  qmm_same_rows = 32,
};

#ifdef __cplusplus
}
#endif

#endif
