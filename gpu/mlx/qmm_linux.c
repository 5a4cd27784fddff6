#include "qmm_linux.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#include "avx2_linux.h"
#include "blas_linux.h"

// spread gives 8 codes of bits each a byte of their own.
static inline __attribute__((always_inline, target("bmi2"))) uint64_t spread(const uint8_t* codes, int bits) {
  uint64_t packed = 0;
  memcpy(&packed, codes, bits);
  return _pdep_u64(packed, 0x0101010101010101u * ((1u << bits) - 1));
}

// scale_at is element i of numbers of type.
static inline __attribute__((always_inline, target("f16c"))) float scale_at(
    const void* numbers, enum qmm_scale_type type, size_t i) {
  if (type == qmm_float32) {
    return ((const float*)numbers)[i];
  }
  const uint16_t half = ((const uint16_t*)numbers)[i];
  if (type == qmm_float16) {
    return _cvtsh_ss(half);
  }
  const uint32_t bits = (uint32_t)half << 16;
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}

// ---- AVX2

#define TARGET __attribute__((target("avx2,fma,bmi2,f16c"), optimize("O3")))
#define ISA(name) name##_avx2
#define V __m256
#define LANES 8
#define ROWS 3
#define AVX2 static inline __attribute__((always_inline)) TARGET

AVX2 V load_avx2(const float* p) { return _mm256_loadu_ps(p); }
AVX2 void store_avx2(float* p, V v) { _mm256_storeu_ps(p, v); }
AVX2 V zero_avx2(void) { return _mm256_setzero_ps(); }
AVX2 V all_avx2(float f) { return _mm256_set1_ps(f); }
AVX2 V fma_avx2(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }

AVX2 float sum_avx2(V v) { return avx2_sum(v); }

// Codes of 4 bits come as the even ones of 16 and then the odd ones, others as they are.
AVX2 void unpack_avx2(const uint8_t* codes, int bits, V scale, V bias, V* weights) {
  if (bits == 4) {
    for (int half = 0; half < 2; half++) {
      const __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)(codes + 8 * half)));
      const __m256i even = _mm256_and_si256(pairs, _mm256_set1_epi32(15)), odd = _mm256_srli_epi32(pairs, 4);
      weights[2 * half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(even), scale, bias);
      weights[2 * half + 1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(odd), scale, bias);
    }
    return;
  }
  for (int part = 0; part < 4; part++) {
    const uint8_t* at = codes + part * bits;
    const __m128i bytes = bits == 8 ? _mm_loadl_epi64((const __m128i*)at) : _mm_cvtsi64_si128(spread(at, bits));
    weights[part] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), scale, bias);
  }
}

#include "qmm_isa.h"

#undef TARGET
#undef ISA
#undef V
#undef LANES
#undef ROWS

// ---- AVX-512

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,bmi2,f16c"), optimize("O3")))
#define ISA(name) name##_avx512
#define V __m512
#define LANES 16
#define ROWS 6
#define AVX512 static inline __attribute__((always_inline)) TARGET

AVX512 V load_avx512(const float* p) { return _mm512_loadu_ps(p); }
AVX512 void store_avx512(float* p, V v) { _mm512_storeu_ps(p, v); }
AVX512 V zero_avx512(void) { return _mm512_setzero_ps(); }
AVX512 V all_avx512(float f) { return _mm512_set1_ps(f); }
AVX512 V fma_avx512(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
AVX512 float sum_avx512(V v) { return _mm512_reduce_add_ps(v); }

// Codes of 4 bits choose among the 16 weights of their group. They come as the even ones of 32 and
// then the odd ones, others as they are.
AVX512 void unpack_avx512(const uint8_t* codes, int bits, V scale, V bias, V* weights) {
  if (bits == 4) {
    const V each = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const V choices = _mm512_fmadd_ps(each, scale, bias);
    const __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)codes));
    weights[0] = _mm512_permutexvar_ps(pairs, choices); // of each index, the lowest 4 bits count
    weights[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(pairs, 4), choices);
    return;
  }
  for (int part = 0; part < 2; part++) {
    const uint8_t* at = codes + part * 2 * bits;
    const __m128i bytes = bits == 8 ? _mm_loadu_si128((const __m128i*)at)
                                    : _mm_set_epi64x((long long)spread(at + bits, bits), (long long)spread(at, bits));
    weights[part] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), scale, bias);
  }
}

#include "qmm_isa.h"

#undef TARGET

// ---- dispatch

enum qmm_isa qmm_supported(void) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2") ||
      !__builtin_cpu_supports("f16c")) {
    return qmm_none;
  }
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
             ? qmm_avx512
             : qmm_avx2;
}

bool qmm_arranges(int bits) { return bits == 4; }

void qmm_arrange(enum qmm_isa isa, int bits, const float* x, float* arranged, size_t rows, int k) {
  if (!qmm_arranges(bits)) {
    memcpy(arranged, x, rows * k * sizeof(float));
    return;
  }
  const int half = isa == qmm_avx512 ? 16 : 8;
  for (size_t i = 0; i < rows * k; i += 2 * half) { // k is a multiple of 32, so no part is of two rows
    for (int j = 0; j < half; j++) {
      arranged[i + j] = x[i + 2 * j];
      arranged[i + half + j] = x[i + 2 * j + 1];
    }
  }
}

// scratch is memory of the calling thread, which lives as long as the process.
static float* scratch(size_t floats) {
  static _Thread_local float* memory;
  static _Thread_local size_t size;
  if (size < floats) {
    free(memory);
    size = (floats + 1023) / 1024 * 1024;
    if (posix_memalign((void**)&memory, 64, size * sizeof(float)) != 0) {
      abort(); // as MLX does where an allocation of so little fails
    }
  }
  return memory;
}

void qmm_columns(const struct qmm* p, int first, int count) {
  const bool wide = p->isa == qmm_avx512;
  if (p->m > qmm_same_rows) {
    float* weights = scratch((size_t)count * p->k);
    (wide ? qmm_dequantize_avx512 : qmm_dequantize_avx2)(p, first, count, weights);
    blas_multiply(p->m, count, p->k, p->x, weights, p->y, p->ldy);
    return;
  }
  (wide ? qmm_columns_avx512 : qmm_columns_avx2)(p, first, count, scratch((size_t)4 * p->k));
}

#else

enum qmm_isa qmm_supported(void) { return qmm_none; }

bool qmm_arranges(int bits) { return bits == 4; }

void qmm_arrange(enum qmm_isa isa, int bits, const float* x, float* arranged, size_t rows, int k) {
  (void)isa, (void)bits, (void)x, (void)arranged, (void)rows, (void)k;
  abort(); // not supported
}

void qmm_columns(const struct qmm* p, int first, int count) {
  (void)p, (void)first, (void)count;
  abort(); // not supported
}

#endif
