#include "fewrows_linux.h"

#include <stdlib.h>

#if defined(__x86_64__)

#include "avx2_linux.h"

#define KERNEL __attribute__((target("avx2,fma"), optimize("O3")))
#define INLINE static inline __attribute__((always_inline)) KERNEL

bool few_rows_supported(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// tile computes rows of a times columns of c: 4 by 3 sums, 3 parts of a and one of b fill the 16
// registers, and 7 loads feed 12 multiply-adds.
INLINE void tile(const struct few_rows_product* p, int row, int rows, int column, int columns, bool prefetch) {
  const float* a = p->a + row * p->lda;
  const float* b = p->b + column * p->ldb;
  __m256 sums[4][3];
  for (int j = 0; j < columns; j++) {
    for (int i = 0; i < rows; i++) {
      sums[j][i] = _mm256_setzero_ps();
    }
  }
  int k = 0;
  for (; k + 8 <= p->k; k += 8) {
    __m256 x[3];
    for (int i = 0; i < rows; i++) {
      x[i] = _mm256_loadu_ps(a + i * p->lda + k);
    }
    for (int j = 0; j < columns; j++) {
      __m256 w = _mm256_loadu_ps(b + j * p->ldb + k);
      if (prefetch) {
        _mm_prefetch((const char*)(b + (columns + j) * p->ldb + k), _MM_HINT_T0);
      }
      for (int i = 0; i < rows; i++) {
        sums[j][i] = _mm256_fmadd_ps(w, x[i], sums[j][i]);
      }
    }
  }
  for (int j = 0; j < columns; j++) {
    for (int i = 0; i < rows; i++) {
      float total = avx2_sum(sums[j][i]);
      for (int rest = k; rest < p->k; rest++) {
        total += a[i * p->lda + rest] * b[j * p->ldb + rest];
      }
      float* out = p->c + (row + i) * p->ldc + column + j;
      *out = p->beta == 0 ? p->alpha * total : p->alpha * total + p->beta * *out;
    }
  }
}

// tiles computes columns of c. Its last part fetches the part of b that comes next.
INLINE void tiles(const struct few_rows_product* p, int column, int columns) {
  int row = 0;
  for (; p->m - row > 4; row += 3) {
    tile(p, row, 3, column, columns, false);
  }
  switch (p->m - row) {
    case 4: // 3 and 1 would leave registers idle
      tile(p, row, 2, column, columns, false);
      tile(p, row + 2, 2, column, columns, true);
      break;
    case 3:
      tile(p, row, 3, column, columns, true);
      break;
    case 2:
      tile(p, row, 2, column, columns, true);
      break;
    case 1:
      tile(p, row, 1, column, columns, false);
      break;
  }
}

KERNEL void few_rows(struct few_rows_product p) {
  int column = 0;
  for (; column + 4 <= p.n; column += 4) {
    tiles(&p, column, 4);
  }
  for (; column < p.n; column++) {
    tiles(&p, column, 1);
  }
}

#else

bool few_rows_supported(void) { return false; }

void few_rows(struct few_rows_product p) {
  (void)p;
  abort(); // not supported
}

#endif
