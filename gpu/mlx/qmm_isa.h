// The kernels of qmm_linux.c, included once for each instruction set, which defines
//
//	ISA(name)       the name of its functions
//	TARGET          their attribute
//	V, LANES        its vector of floats and their number
//	ROWS            rows of x in a tile of 4 columns: sums, a part of x each and one of w fill the registers
//	load, store, zero, all, fma, sum
//	unpack          32 codes to 32 / LANES vectors, in an order of its own
//
// Columns are those of the product, and rows of w.

#define KERNEL static TARGET
#define INLINE static inline __attribute__((always_inline)) TARGET

enum { ISA(vectors) = 32 / LANES };

// Functions take bits and type, those of p, as constants.
INLINE void ISA(dequantize)(const struct qmm* p, int bits, enum qmm_scale_type type, int column, int columns, float* out) {
  const int groups = p->k / p->group, blocks = p->group / 32;
  const size_t at = (size_t)column * groups;
  const uint8_t* w = p->w + (size_t)column * p->k / 8 * bits;
  for (int i = 0; i < columns * groups; i++) {
    const V scale = ISA(all)(scale_at(p->scales, type, at + i)), bias = ISA(all)(scale_at(p->biases, type, at + i));
    for (int block = 0; block < blocks; block++, w += 4 * bits, out += 32) {
      V weights[ISA(vectors)];
      ISA(unpack)(w, bits, scale, bias, weights);
      for (int v = 0; v < ISA(vectors); v++) {
        ISA(store)(out + v * LANES, weights[v]);
      }
    }
  }
}

// direct computes a product of one row. It fetches the part of w that comes next.
INLINE void ISA(direct)(
    const struct qmm* p, int bits, enum qmm_scale_type type, int column, int columns, float* y) {
  const int groups = p->k / p->group;
  const size_t row_bytes = (size_t)p->k / 8 * bits;
  const uint8_t* w = p->w + column * row_bytes;
  const size_t at = (size_t)column * groups;
  V sums[4];
  for (int c = 0; c < columns; c++) {
    sums[c] = ISA(zero)();
  }
  const float* x = p->x;
  for (int g = 0; g < groups; g++) {
    V scale[4], bias[4];
    for (int c = 0; c < columns; c++) {
      scale[c] = ISA(all)(scale_at(p->scales, type, at + c * groups + g));
      bias[c] = ISA(all)(scale_at(p->biases, type, at + c * groups + g));
    }
    for (int block = 0; block < p->group; block += 32, x += 32, w += 4 * bits) {
      V parts[ISA(vectors)];
      for (int v = 0; v < ISA(vectors); v++) {
        parts[v] = ISA(load)(x + v * LANES);
      }
#pragma GCC unroll 4
      for (int c = 0; c < columns; c++) {
        const uint8_t* codes = w + c * row_bytes;
        __builtin_prefetch(codes + columns * row_bytes);
        V weights[ISA(vectors)];
        ISA(unpack)(codes, bits, scale[c], bias[c], weights);
        for (int v = 0; v < ISA(vectors); v++) {
          sums[c] = ISA(fma)(weights[v], parts[v], sums[c]);
        }
      }
    }
  }
  for (int c = 0; c < columns; c++) {
    y[c] = ISA(sum)(sums[c]);
  }
}

// tile computes rows for columns whose weights are dense, [columns, k].
INLINE void ISA(tile)(const struct qmm* p, const float* weights, int row, int rows, int columns, float* y) {
  const float* x = p->x + (size_t)row * p->k;
  V sums[4][ROWS];
  for (int c = 0; c < columns; c++) {
    for (int r = 0; r < rows; r++) {
      sums[c][r] = ISA(zero)();
    }
  }
  for (int i = 0; i < p->k; i += LANES) {
    V parts[ROWS];
    for (int r = 0; r < rows; r++) {
      parts[r] = ISA(load)(x + (size_t)r * p->k + i);
    }
    for (int c = 0; c < columns; c++) {
      const V weight = ISA(load)(weights + (size_t)c * p->k + i);
      for (int r = 0; r < rows; r++) {
        sums[c][r] = ISA(fma)(weight, parts[r], sums[c][r]);
      }
    }
  }
  for (int c = 0; c < columns; c++) {
    for (int r = 0; r < rows; r++) {
      y[(row + r) * p->ldy + c] = ISA(sum)(sums[c][r]);
    }
  }
}

// tiles computes columns, of which the first is y's.
INLINE void ISA(tiles)(
    const struct qmm* p, int bits, enum qmm_scale_type type, int column, int columns, float* weights, float* y) {
  if (p->m == 1) {
    ISA(direct)(p, bits, type, column, columns, y);
    return;
  }
  ISA(dequantize)(p, bits, type, column, columns, weights);
  for (int row = 0; row < p->m;) {
    // Rows are shared out evenly: a tile of one would leave registers idle.
    const int left = p->m - row, tiles = (left + ROWS - 1) / ROWS, rows = (left + tiles - 1) / tiles;
    switch (rows) {
#define CASE(n) \
  case n: \
    ISA(tile)(p, weights, row, n, columns, y); \
    break;
      CASE(1)
      CASE(2)
      CASE(3)
#if ROWS > 3
      CASE(4)
      CASE(5)
      CASE(6)
#endif
#undef CASE
    }
    row += rows;
  }
}

INLINE void ISA(columns)(
    const struct qmm* p, int bits, enum qmm_scale_type type, int first, int count, float* weights) {
  int i = 0;
  for (; i + 4 <= count; i += 4) {
    ISA(tiles)(p, bits, type, first + i, 4, weights, p->y + i);
  }
  for (; i < count; i++) {
    ISA(tiles)(p, bits, type, first + i, 1, weights, p->y + i);
  }
}

#define EACH_TYPE(call, bits) \
  switch (p->scale_type) { \
    case qmm_float32: call(bits, qmm_float32); break; \
    case qmm_float16: call(bits, qmm_float16); break; \
    case qmm_bfloat16: call(bits, qmm_bfloat16); break; \
  }

#define EACH_FORMAT(call) \
  switch (p->bits) { \
    case 2: EACH_TYPE(call, 2) break; \
    case 3: EACH_TYPE(call, 3) break; \
    case 4: EACH_TYPE(call, 4) break; \
    case 5: EACH_TYPE(call, 5) break; \
    case 6: EACH_TYPE(call, 6) break; \
    case 8: EACH_TYPE(call, 8) break; \
  }

KERNEL void ISA(qmm_columns)(const struct qmm* p, int first, int count, float* weights) {
#define CALL(bits, type) ISA(columns)(p, bits, type, first, count, weights)
  EACH_FORMAT(CALL)
#undef CALL
}

KERNEL void ISA(qmm_dequantize)(const struct qmm* p, int first, int count, float* weights) {
#define CALL(bits, type) ISA(dequantize)(p, bits, type, first, count, weights)
  EACH_FORMAT(CALL)
#undef CALL
}

#undef EACH_FORMAT
#undef EACH_TYPE
#undef KERNEL
#undef INLINE
