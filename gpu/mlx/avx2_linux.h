// What the AVX2 kernels share.
#ifndef MLX_WORKER_AVX2_LINUX_H
#define MLX_WORKER_AVX2_LINUX_H

#if defined(__x86_64__)

#include <immintrin.h>

// The sum of 8 floats: each of the lower half with its place's in the upper, then those four by twos.
static inline __attribute__((always_inline, target("avx2"))) float avx2_sum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

#endif

#endif
