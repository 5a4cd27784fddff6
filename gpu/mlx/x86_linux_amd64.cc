#include "x86_linux_amd64.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <stdexcept>
#include <vector>

#include "avx2_linux.h"
#include "blas_linux.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/mlx.h"
#include "mlx/primitives.h"
#include "qmm_linux.h"

namespace mx = mlx::core;

#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE inline __attribute__((always_inline)) AVX2

namespace {

qmm_isa instructions = qmm_none; // that products use; all else is AVX2

// ---- arithmetic on 8 floats

// lanes has its first n lanes set.
INLINE __m256i lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// load reads n floats, at most 8; the others are zero.
INLINE __m256 load(const float* p, int n) {
  return n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, lanes(n));
}

INLINE void store(float* p, int n, __m256 v) {
  if (n >= 8) {
    _mm256_storeu_ps(p, v);
  } else {
    _mm256_maskstore_ps(p, lanes(n), v);
  }
}

INLINE float greatest(__m256 v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// exponential is eˣ within 2e-7: 2ⁿ times a polynomial on ±ln(2)/2 whose coefficients are the
// minimax fit of Moshier's Cephes library (expf). NaN stays, -inf gives 0, large x inf.
INLINE __m256 exponential(__m256 x) {
  const __m256 top = _mm256_set1_ps(88.3762626647949f), bottom = _mm256_set1_ps(-87.33654f);
  __m256 in = _mm256_max_ps(_mm256_min_ps(x, top), bottom);
  __m256 n = _mm256_round_ps(
      _mm256_mul_ps(in, _mm256_set1_ps(1.44269504088896341f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), in);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 p = _mm256_set1_ps(1.9875691500e-4f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
  p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1)));
  __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  __m256 y = _mm256_mul_ps(p, _mm256_castsi256_ps(exponent));
  y = _mm256_blendv_ps(y, _mm256_setzero_ps(), _mm256_cmp_ps(x, bottom, _CMP_LT_OQ));
  y = _mm256_blendv_ps(y, _mm256_set1_ps(INFINITY), _mm256_cmp_ps(x, top, _CMP_GT_OQ));
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

INLINE __m256 silu(__m256 x) {
  __m256 e = exponential(_mm256_sub_ps(_mm256_setzero_ps(), x));
  return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1), e));
}

// ---- kernels, each on a part of its rows

struct Rows {
  const float *x, *weight; // weight of rms_norm, or null
  float* y;
  int width; // of a row of y
  float eps;
};

AVX2 void silu_rows(const void* job, int first, int count) {
  const Rows& j = *static_cast<const Rows*>(job);
  for (int row = first; row < first + count; row++) {
    const float* x = j.x + static_cast<size_t>(row) * j.width;
    float* y = j.y + static_cast<size_t>(row) * j.width;
    for (int i = 0; i < j.width; i += 8) {
      store(y + i, j.width - i, silu(load(x + i, j.width - i)));
    }
  }
}

AVX2 void gated_silu_rows(const void* job, int first, int count) {
  const Rows& j = *static_cast<const Rows*>(job);
  for (int row = first; row < first + count; row++) {
    const float* gate = j.x + static_cast<size_t>(row) * 2 * j.width;
    const float* up = gate + j.width;
    float* y = j.y + static_cast<size_t>(row) * j.width;
    for (int i = 0; i < j.width; i += 8) {
      int n = j.width - i;
      store(y + i, n, _mm256_mul_ps(silu(load(gate + i, n)), load(up + i, n)));
    }
  }
}

AVX2 void rms_norm_rows(const void* job, int first, int count) {
  const Rows& j = *static_cast<const Rows*>(job);
  for (int row = first; row < first + count; row++) {
    const float* x = j.x + static_cast<size_t>(row) * j.width;
    float* y = j.y + static_cast<size_t>(row) * j.width;
    __m256 squares = _mm256_setzero_ps();
    for (int i = 0; i < j.width; i += 8) {
      __m256 v = load(x + i, j.width - i);
      squares = _mm256_fmadd_ps(v, v, squares);
    }
    __m256 scale = _mm256_set1_ps(1 / std::sqrt(avx2_sum(squares) / j.width + j.eps));
    for (int i = 0; i < j.width; i += 8) {
      int n = j.width - i;
      __m256 v = _mm256_mul_ps(load(x + i, n), scale);
      if (j.weight != nullptr) {
        v = _mm256_mul_ps(v, load(j.weight + i, n));
      }
      store(y + i, n, v);
    }
  }
}

// softmax replaces n scores by their shares. greatest_of_all is the greatest of scale * scores.
INLINE void softmax(float* x, int n, float scale, float* total) {
  const __m256 s = _mm256_set1_ps(scale);
  __m256 top = _mm256_set1_ps(-INFINITY);
  for (int i = 0; i < n; i += 8) {
    __m256 v = _mm256_mul_ps(load(x + i, n - i), s);
    if (n - i < 8) {
      v = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), v, _mm256_castsi256_ps(lanes(n - i)));
    }
    top = _mm256_max_ps(top, v);
  }
  const __m256 m = _mm256_set1_ps(greatest(top));
  __m256 all = _mm256_setzero_ps();
  for (int i = 0; i < n; i += 8) {
    __m256 e = exponential(_mm256_fmsub_ps(load(x + i, n - i), s, m));
    if (n - i < 8) {
      e = _mm256_and_ps(e, _mm256_castsi256_ps(lanes(n - i)));
    }
    all = _mm256_add_ps(all, e);
    store(x + i, n - i, e);
  }
  *total = avx2_sum(all);
}

struct Softmax {
  const float* x;
  float* y; // may be x
  int rows; // l
  int columns;
  float scale;
  int window; // 0: none
};

AVX2 void softmax_rows(const void* job, int first, int count) {
  const Softmax& j = *static_cast<const Softmax*>(job);
  for (int row = first; row < first + count; row++) {
    const float* x = j.x + static_cast<size_t>(row) * j.columns;
    float* y = j.y + static_cast<size_t>(row) * j.columns;
    int to = j.columns - j.rows + row % j.rows + 1;
    int from = j.window > 0 && to > j.window ? to - j.window : 0;
    for (int i = 0; i < from; i++) {
      y[i] = 0;
    }
    if (x != y) {
      std::copy(x + from, x + to, y + from);
    }
    float total;
    softmax(y + from, to - from, j.scale, &total);
    const __m256 share = _mm256_set1_ps(1 / total);
    for (int i = from; i < to; i += 8) {
      store(y + i, to - i, _mm256_mul_ps(load(y + i, to - i), share));
    }
    std::fill(y + to, y + j.columns, 0.0f);
  }
}

struct Attend {
  const float *q, *k, *v;
  const int32_t* counts; // or null
  float* y;
  int heads, kv_heads, dim, span;
  int64_t k_row, k_head, v_row, v_head, k_position, v_position; // strides
  float scale;
};

// dots are the products of q with 8 keys, stride apart.
INLINE __m256 dots(const float* q, const float* k, int64_t stride, int dim) {
  __m256 s[8];
  for (int t = 0; t < 8; t++) {
    s[t] = _mm256_setzero_ps();
  }
  for (int i = 0; i < dim; i += 8) {
    __m256 x = _mm256_loadu_ps(q + i);
    for (int t = 0; t < 8; t++) {
      s[t] = _mm256_fmadd_ps(x, _mm256_loadu_ps(k + t * stride + i), s[t]);
    }
  }
  __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(s[0], s[1]), _mm256_hadd_ps(s[2], s[3]));
  __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(s[4], s[5]), _mm256_hadd_ps(s[6], s[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

INLINE float dot(const float* q, const float* k, int dim) {
  __m256 s = _mm256_setzero_ps();
  for (int i = 0; i < dim; i += 8) {
    s = _mm256_fmadd_ps(_mm256_loadu_ps(q + i), _mm256_loadu_ps(k + i), s);
  }
  return avx2_sum(s);
}

// mix is the sum of n values by weights, in parts of 32 dimensions that stay in registers.
INLINE void mix(const float* weights, const float* v, int64_t stride, int n, int dim, float share, float* y) {
  for (int i = 0; i < dim; i += 32) {
    int parts = dim - i >= 32 ? 4 : (dim - i) / 8;
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int t = 0; t < n; t++) {
      __m256 w = _mm256_broadcast_ss(weights + t);
      const float* p = v + t * stride + i;
      for (int part = 0; part < 4; part++) {
        if (part < parts) {
          s[part] = _mm256_fmadd_ps(w, _mm256_loadu_ps(p + part * 8), s[part]);
        }
      }
    }
    for (int part = 0; part < parts; part++) {
      _mm256_storeu_ps(y + i + part * 8, _mm256_mul_ps(s[part], _mm256_set1_ps(share)));
    }
  }
}

// attend_heads computes groups of heads that share keys and values; a unit is a row's group.
AVX2 void attend_heads(const void* job, int first, int count) {
  const Attend& j = *static_cast<const Attend*>(job);
  thread_local std::vector<float> scores;
  scores.resize(j.span);
  const int group = j.heads / j.kv_heads;
  for (int unit = first; unit < first + count; unit++) {
    const int row = unit / j.kv_heads, head = unit % j.kv_heads;
    const int n = j.counts == nullptr ? j.span : std::min(std::max(j.counts[row], 1), j.span);
    const float* k = j.k + row * j.k_row + head * j.k_head;
    const float* v = j.v + row * j.v_row + head * j.v_head;
    for (int h = head * group; h < (head + 1) * group; h++) {
      const size_t at = (static_cast<size_t>(row) * j.heads + h) * j.dim;
      int t = 0;
      for (; t + 8 <= n; t += 8) {
        _mm256_storeu_ps(&scores[t], dots(j.q + at, k + t * j.k_position, j.k_position, j.dim));
      }
      for (; t < n; t++) {
        scores[t] = dot(j.q + at, k + t * j.k_position, j.dim);
      }
      float total;
      softmax(scores.data(), n, j.scale, &total);
      mix(scores.data(), v, j.v_position, n, j.dim, 1 / total, j.y + at);
    }
  }
}

// Angles are the cosines and sines of what positions turn heads by, [positions, half] each.
struct Angles {
  std::vector<float> inverse; // of wavelengths over 2π, [half]
  float scale = 0;
  std::vector<int32_t> positions;
  std::vector<float> cos, sin;

  // fill computes them, unless they are those of the latest call: layers of a pass share them.
  void fill(std::vector<float> inverse_, float scale_, std::vector<int32_t> positions_) {
    if (scale == scale_ && inverse == inverse_ && positions == positions_) {
      return;
    }
    inverse = std::move(inverse_), scale = scale_, positions = std::move(positions_);
    cos.resize(positions.size() * inverse.size());
    sin.resize(cos.size());
    size_t at = 0;
    for (int32_t position : positions) {
      for (float frequency : inverse) {
        float angle = static_cast<float>(position) * scale * frequency;
        cos[at] = std::cos(angle);
        sin[at++] = std::sin(angle);
      }
    }
  }
};

struct Rotate {
  const float* x; // last axis dense
  float* y;       // [rows, heads, length, dim]
  int heads, length, dim, half;
  int64_t row, head, position; // strides of x
  bool traditional;
  bool by_row; // angles are of [rows, length], not of [length]
  const Angles* angles;
};

// rotate_heads turns heads of rows. Dimensions from 2 * half on stay.
AVX2 void rotate_heads(const void* job, int first, int count) {
  const Rotate& j = *static_cast<const Rotate*>(job);
  for (int unit = first; unit < first + count; unit++) {
    const int row = unit / j.heads, head = unit % j.heads;
    for (int l = 0; l < j.length; l++) {
      const float* x = j.x + row * j.row + head * j.head + l * j.position;
      float* y = j.y + (static_cast<size_t>(unit) * j.length + l) * j.dim;
      const size_t at = (j.by_row ? static_cast<size_t>(row) * j.length + l : l) * j.half;
      const float *cos = &j.angles->cos[at], *sin = &j.angles->sin[at];
      if (j.traditional) {
        for (int i = 0; i < j.half; i++) {
          float a = x[2 * i], b = x[2 * i + 1];
          y[2 * i] = a * cos[i] - b * sin[i];
          y[2 * i + 1] = a * sin[i] + b * cos[i];
        }
      } else {
        for (int i = 0; i < j.half; i += 8) {
          const int n = j.half - i;
          __m256 a = load(x + i, n), b = load(x + j.half + i, n), c = load(cos + i, n), s = load(sin + i, n);
          store(y + i, n, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
          store(y + j.half + i, n, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
        }
      }
      std::copy(x + 2 * j.half, x + j.dim, y + 2 * j.half);
    }
  }
}

// ---- primitives of MLX

class Kernel : public mx::Primitive {
 public:
  using Primitive::Primitive;
  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("an operation of the CPU backend was put on a GPU");
  }
};

// run shares rows between threads once the task's turn on the stream comes.
template <typename Job>
void run(const mx::Stream& stream, void (*kernel)(const void*, int, int), const Job& job, int rows, size_t row_work) {
  constexpr size_t piece_work = 1 << 14; // less is done sooner than a thread is woken
  int piece = static_cast<int>(std::max<size_t>(1, piece_work / std::max<size_t>(row_work, 1)));
  mx::cpu::get_command_encoder(stream).dispatch([=] { blas_share(kernel, &job, rows, piece); });
}

int rows_of(const mx::array& a) { return static_cast<int>(a.size() / a.shape(-1)); }

enum class Elementwise { silu, gated_silu, rms_norm };

class RowKernel : public Kernel {
 public:
  RowKernel(mx::Stream stream, Elementwise what, float eps) : Kernel(stream), what(what), eps(eps) {}

  const char* name() const override { return "X86RowKernel"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& y = outputs[0];
    y.set_data(mx::allocator::malloc(y.nbytes()));
    const float* weight = inputs.size() > 1 ? inputs[1].data<float>() : nullptr;
    Rows job{inputs[0].data<float>(), weight, y.data<float>(), y.shape(-1), eps};
    void (*kernel)(const void*, int, int) = silu_rows;
    size_t cost = 4; // of an element, in those of rms_norm
    switch (what) {
      case Elementwise::silu:
        break;
      case Elementwise::gated_silu:
        kernel = gated_silu_rows;
        break;
      case Elementwise::rms_norm:
        kernel = rms_norm_rows;
        cost = 1;
        break;
    }
    run(stream(), kernel, job, rows_of(y), cost * job.width);
  }

  const Elementwise what;
  const float eps;
};

class SoftmaxKernel : public Kernel {
 public:
  SoftmaxKernel(mx::Stream stream, float scale, int window) : Kernel(stream), scale_(scale), window_(window) {}

  const char* name() const override { return "X86Softmax"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const auto& x = inputs[0];
    auto& y = outputs[0];
    if (x.is_donatable()) {
      y.copy_shared_buffer(x);
    } else {
      y.set_data(mx::allocator::malloc(y.nbytes()));
    }
    Softmax job{x.data<float>(), y.data<float>(), x.shape(-2), x.shape(-1), scale_, window_};
    run(stream(), softmax_rows, job, rows_of(y), size_t{4} * job.columns);
  }

 private:
  float scale_;
  int window_;
};

// RotateKernel's inputs are x, then the rows' first positions unless all begin at offset, then
// wavelengths over 2π unless inverse says them.
class RotateKernel : public Kernel {
 public:
  struct Options {
    int half;
    bool traditional;
    float scale;
    int offset;
    bool offsets, wavelengths; // are inputs
    std::shared_ptr<const std::vector<float>> inverse;
  };

  RotateKernel(mx::Stream stream, Options options) : Kernel(stream), options_(std::move(options)) {}

  const char* name() const override { return "X86Rotate"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const auto& x = inputs[0];
    auto& y = outputs[0];
    if (x.strides(3) != 1) {
      throw std::invalid_argument("x86_rope: the last axis is not dense");
    }
    y.set_data(mx::allocator::malloc(y.nbytes()));
    const Rotate job{
        x.data<float>(), y.data<float>(), x.shape(1), x.shape(2), x.shape(3), options_.half, x.strides(0),
        x.strides(1), x.strides(2), options_.traditional, options_.offsets, nullptr};
    const int32_t* offsets = options_.offsets ? inputs[1].data<int32_t>() : nullptr;
    const float* wavelengths = options_.wavelengths ? inputs.back().data<float>() : nullptr;
    mx::cpu::get_command_encoder(stream()).dispatch(
        [job, offsets, wavelengths, rows = x.shape(0), options = options_] {
          rotate(job, offsets, wavelengths, rows, options);
        });
  }

 private:
  static void rotate(Rotate job, const int32_t* offsets, const float* wavelengths, int rows, const Options& options) {
    std::vector<int32_t> positions;
    for (int row = 0; row < (offsets == nullptr ? 1 : rows); row++) {
      for (int l = 0; l < job.length; l++) {
        positions.push_back((offsets == nullptr ? options.offset : offsets[row]) + l);
      }
    }
    std::vector<float> inverse(job.half);
    for (int i = 0; i < job.half; i++) {
      inverse[i] = wavelengths == nullptr ? (*options.inverse)[i] : 1 / wavelengths[i];
    }
    thread_local Angles angles; // of the stream's thread
    angles.fill(std::move(inverse), options.scale, std::move(positions));
    job.angles = &angles;
    const int head_work = std::max(1, job.length * job.dim / 2);
    blas_share(rotate_heads, &job, rows * job.heads, std::max(1, (1 << 14) / head_work));
  }

  Options options_;
};

// inverse_frequencies are those of a base, as MLX computes them.
std::shared_ptr<const std::vector<float>> inverse_frequencies(float base, int half, const mx::Stream& s) {
  constexpr size_t most = 64; // a base that follows the length changes all the time
  static std::map<std::pair<float, int>, std::shared_ptr<const std::vector<float>>> known;
  auto& found = known[{base, half}];
  if (found == nullptr) {
    auto exponents = mx::multiply(
        mx::arange(0, -half, -1, mx::float32, s), mx::array(std::log(base) / half, mx::float32), s);
    auto values = mx::exp(exponents, s);
    values.eval();
    found = std::make_shared<std::vector<float>>(values.data<float>(), values.data<float>() + half);
  }
  auto result = found;
  if (known.size() > most) {
    known.clear();
  }
  return result;
}

class AttendKernel : public Kernel {
 public:
  AttendKernel(mx::Stream stream, float scale) : Kernel(stream), scale_(scale) {}

  const char* name() const override { return "X86Attend"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const auto &q = inputs[0], &k = inputs[1], &v = inputs[2];
    auto& y = outputs[0];
    if (k.strides(3) != 1 || v.strides(3) != 1) {
      throw std::invalid_argument("x86_attend: the last axis of keys and values is not dense");
    }
    y.set_data(mx::allocator::malloc(y.nbytes()));
    Attend job{
        q.data<float>(), k.data<float>(), v.data<float>(), inputs.size() > 3 ? inputs[3].data<int32_t>() : nullptr,
        y.data<float>(), q.shape(1), k.shape(1), q.shape(3), k.shape(2), k.strides(0), k.strides(1), v.strides(0),
        v.strides(1), k.strides(2), v.strides(2), scale_};
    size_t work = size_t{2} * (job.heads / job.kv_heads) * job.span * job.dim / 8;
    run(stream(), attend_heads, job, q.shape(0) * job.kv_heads, work);
  }

 private:
  float scale_;
};

qmm_scale_type scale_type(mx::Dtype dtype) {
  return dtype == mx::float32 ? qmm_float32 : dtype == mx::float16 ? qmm_float16 : qmm_bfloat16;
}

size_t scale_bytes(qmm_scale_type type) { return type == qmm_float32 ? 4 : 2; }

// A product with a quantised matrix, and what is done to its rows before and to its columns after.
struct Product {
  qmm matrix;
  const float* x; // [m, k]
  float* y;       // [m, width]
  int width;      // n, or half of it if gated

  const Rows* norm; // of x before the product, or null
  const float* add; // added to what comes out: [m, width], or [width] for all rows; or null
  bool add_row;
  bool gated; // silu(first half of a row) * second half
};

// prepare_rows makes of rows of x what the product reads.
void prepare_rows(const void* job, int first, int count) {
  const Product& p = *static_cast<const Product*>(job);
  const size_t at = static_cast<size_t>(first) * p.matrix.k;
  float* to = const_cast<float*>(p.matrix.x) + at;
  const float* x = p.x + at;
  if (p.norm != nullptr) {
    Rows norm = *p.norm;
    thread_local std::vector<float> normed;
    normed.resize(static_cast<size_t>(count) * p.matrix.k);
    norm.x = x;
    norm.y = qmm_arranges(p.matrix.bits) ? normed.data() : to;
    rms_norm_rows(&norm, 0, count);
    x = norm.y;
  }
  if (qmm_arranges(p.matrix.bits)) {
    qmm_arrange(p.matrix.isa, p.matrix.bits, x, to, count, p.matrix.k);
  }
}

AVX2 void product_columns(const void* job, int first, int count) {
  const Product& p = *static_cast<const Product*>(job);
  qmm part = p.matrix;
  if (!p.gated) {
    part.y = p.y + first;
    part.ldy = p.width;
    qmm_columns(&part, first, count);
    for (int row = 0; p.add != nullptr && row < part.m; row++) {
      float* y = p.y + static_cast<size_t>(row) * p.width + first;
      const float* add = p.add + (p.add_row ? 0 : static_cast<size_t>(row) * p.width) + first;
      for (int i = 0; i < count; i += 8) {
        store(y + i, count - i, _mm256_add_ps(load(y + i, count - i), load(add + i, count - i)));
      }
    }
    return;
  }
  thread_local std::vector<float> both; // [m, 2 count]
  both.resize(static_cast<size_t>(part.m) * 2 * count);
  part.ldy = 2 * count;
  part.y = both.data();
  qmm_columns(&part, first, count);
  part.y += count;
  qmm_columns(&part, p.width + first, count);
  for (int row = 0; row < part.m; row++) {
    const float* gate = both.data() + static_cast<size_t>(row) * 2 * count;
    float* y = p.y + static_cast<size_t>(row) * p.width + first;
    for (int i = 0; i < count; i += 8) {
      store(y + i, count - i, _mm256_mul_ps(silu(load(gate + i, count - i)), load(gate + count + i, count - i)));
    }
  }
}

// QuantizedMatMulKernel's inputs are x, codes, scales and biases, then the weight of the norm and
// what is added, where there are any.
class QuantizedMatMulKernel : public Kernel {
 public:
  struct Options {
    int group, bits;
    bool normed = false, weighted = false; // x is normalised first, with a weight
    float eps = 0;
    bool adds = false, add_row = false; // the same for all rows
    bool gated = false;
  };

  QuantizedMatMulKernel(mx::Stream stream, Options options) : Kernel(stream), options(options) {}

  const char* name() const override { return "X86QuantizedMatMul"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const auto& x = inputs[0];
    auto& y = outputs[0];
    y.set_data(mx::allocator::malloc(y.nbytes()));
    auto& encoder = mx::cpu::get_command_encoder(stream());
    Product p{};
    p.matrix = {rows_of(x), x.shape(-1), options.bits, options.group, x.data<float>(), inputs[1].data<uint8_t>(),
                inputs[2].data<uint8_t>(), inputs[3].data<uint8_t>(), scale_type(inputs[2].dtype()), nullptr, 0, instructions};
    p.x = x.data<float>();
    p.y = y.data<float>();
    p.width = y.shape(-1);
    p.gated = options.gated;
    p.add = options.adds ? inputs.back().data<float>() : nullptr;
    p.add_row = options.add_row;
    Rows norm{nullptr, options.weighted ? inputs[4].data<float>() : nullptr, nullptr, x.shape(-1), options.eps};
    if (options.normed || qmm_arranges(options.bits)) {
      mx::array prepared(x.shape(), mx::float32, nullptr, {});
      prepared.set_data(mx::allocator::malloc(x.nbytes()));
      p.matrix.x = prepared.data<float>();
      encoder.add_temporary(prepared);
    }
    encoder.dispatch([p, norm, normed = options.normed]() mutable {
      p.norm = normed ? &norm : nullptr;
      if (p.matrix.x != p.x) {
        blas_share(prepare_rows, &p, p.matrix.m, std::max(1, (1 << 14) / p.matrix.k));
      }
      const bool many = p.matrix.m > qmm_same_rows;
      blas_share(product_columns, &p, p.width, many ? blas_piece_of(p.width, 96, 128) : blas_piece_of(p.width, 48, 1024));
    });
  }

  const Options options;
};

// Gathered is rows of x times matrices that each row names.
struct Gathered {
  qmm matrix;          // x in the order of experts, and the first expert's arrays
  const float* x;      // [rows / repeat, k]
  float* y;            // [rows, n]
  const int32_t* experts; // [rows]
  int rows, repeat, n, count, pieces; // of count experts, each cut into so many pieces

  int* order;  // rows in the order of experts
  int* starts; // [count + 1], where an expert's rows begin there
  float* out;  // what y becomes, in that order
};

// gather_rows puts rows in order, and what the products read of them.
void gather_rows(const Gathered& g) {
  const int last = g.count - 1;
  const auto expert = [&](int row) { return std::clamp(g.experts[row], 0, last); };
  std::fill(g.starts, g.starts + g.count + 1, 0);
  for (int row = 0; row < g.rows; row++) {
    g.starts[expert(row) + 1]++;
  }
  for (int e = 0; e < g.count; e++) {
    g.starts[e + 1] += g.starts[e];
  }
  std::vector<int> next(g.starts, g.starts + g.count);
  for (int row = 0; row < g.rows; row++) {
    const int at = next[expert(row)]++;
    g.order[at] = row;
    const float* from = g.x + static_cast<size_t>(row / g.repeat) * g.matrix.k;
    float* to = const_cast<float*>(g.matrix.x) + static_cast<size_t>(at) * g.matrix.k;
    if (qmm_arranges(g.matrix.bits)) {
      qmm_arrange(g.matrix.isa, g.matrix.bits, from, to, 1, g.matrix.k);
    } else {
      std::copy(from, from + g.matrix.k, to);
    }
  }
}

// gathered_pieces computes pieces of experts' columns and puts them where they belong.
void gathered_pieces(const void* job, int first, int count) {
  const Gathered& g = *static_cast<const Gathered*>(job);
  for (int unit = first; unit < first + count; unit++) {
    const int expert = unit / g.pieces, from = unit % g.pieces * g.n / g.pieces / 4 * 4;
    const int piece = unit % g.pieces + 1;
    const int to = piece == g.pieces ? g.n : piece * g.n / g.pieces / 4 * 4;
    const int start = g.starts[expert], rows = g.starts[expert + 1] - start;
    if (rows == 0 || to == from) {
      continue;
    }
    qmm part = g.matrix;
    const size_t groups = static_cast<size_t>(g.n) * (part.k / part.group);
    part.m = rows;
    part.x += static_cast<size_t>(start) * part.k;
    part.w += static_cast<size_t>(expert) * g.n * (part.k / 8 * part.bits);
    part.scales = static_cast<const uint8_t*>(part.scales) + expert * groups * scale_bytes(part.scale_type);
    part.biases = static_cast<const uint8_t*>(part.biases) + expert * groups * scale_bytes(part.scale_type);
    part.y = g.out + static_cast<size_t>(start) * g.n + from;
    part.ldy = g.n;
    qmm_columns(&part, from, to - from);
    for (int row = start; row < start + rows; row++) {
      const float* out = g.out + static_cast<size_t>(row) * g.n;
      std::copy(out + from, out + to, g.y + static_cast<size_t>(g.order[row]) * g.n + from);
    }
  }
}

// GatherKernel's inputs are x, codes, scales, biases and what names experts.
class GatherKernel : public Kernel {
 public:
  GatherKernel(mx::Stream stream, int group, int bits) : Kernel(stream), group_(group), bits_(bits) {}

  const char* name() const override { return "X86GatherQuantizedMatMul"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const auto &x = inputs[0], &indices = inputs[4];
    auto& y = outputs[0];
    y.set_data(mx::allocator::malloc(y.nbytes()));
    auto& encoder = mx::cpu::get_command_encoder(stream());
    const auto temporary = [&](int rows, int columns) {
      mx::array a(mx::Shape{rows, columns}, mx::int32, nullptr, {});
      a.set_data(mx::allocator::malloc(a.nbytes()));
      encoder.add_temporary(a);
      return a.data<int32_t>();
    };
    Gathered g{};
    g.rows = static_cast<int>(indices.size());
    g.n = y.shape(-1);
    g.count = inputs[1].shape(0);
    g.repeat = g.rows / rows_of(x);
    g.x = x.data<float>();
    g.y = y.data<float>();
    g.experts = indices.data<int32_t>();
    const int k = x.shape(-1);
    float* arranged = reinterpret_cast<float*>(temporary(g.rows, k));
    g.matrix = {0, k, bits_, group_, arranged, inputs[1].data<uint8_t>(), inputs[2].data<uint8_t>(),
                inputs[3].data<uint8_t>(), scale_type(inputs[2].dtype()), nullptr, 0, instructions};
    g.out = reinterpret_cast<float*>(temporary(g.rows, g.n));
    g.order = temporary(g.rows, 1);
    g.starts = temporary(g.count + 1, 1);
    g.pieces = std::clamp(g.n / 96, 1, 16);
    encoder.dispatch([g] {
      gather_rows(g);
      blas_share(gathered_pieces, &g, g.count * g.pieces, 1);
    });
  }

 private:
  int group_, bits_;
};

// pending is the kernel that is to compute a, or null: a is already computed, or another's.
template <typename K>
const K* pending(const mx::array& a) {
  if (a.status() != mx::array::Status::unscheduled || !a.has_primitive()) {
    return nullptr;
  }
  return dynamic_cast<const K*>(&a.primitive());
}

// pending_product is the product that is to compute a, if nothing is done to its columns yet.
const QuantizedMatMulKernel* pending_product(const mx::array& a) {
  const auto* product = pending<QuantizedMatMulKernel>(a);
  return product != nullptr && !product->options.adds && !product->options.gated ? product : nullptr;
}

mx::array product(mx::Shape shape, QuantizedMatMulKernel::Options options, std::vector<mx::array> inputs, const mx::Stream& s) {
  return mx::array(std::move(shape), mx::float32, std::make_shared<QuantizedMatMulKernel>(s, options), std::move(inputs));
}

// ---- entry points

const mx::array& get(mlx_array a) {
  if (a.ctx == nullptr) {
    throw std::invalid_argument("an array is null");
  }
  return *static_cast<mx::array*>(a.ctx);
}

const mx::Stream& get(mlx_stream s) { return *static_cast<mx::Stream*>(s.ctx); }

void check(bool ok, const char* what) {
  if (!ok) {
    throw std::invalid_argument(what);
  }
}

// check_format checks an affine format of rows of k.
void check_format(int k, int group, int bits) {
  check(bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8, "no format has codes of such a width");
  check(group > 0 && group % 32 == 0 && k % group == 0, "the groups are no multiple of 32, or do not fill a row");
}

void check_scales(const mx::array& scales, const mx::array& biases) {
  const auto dtype = scales.dtype();
  check(dtype == mx::float32 || dtype == mx::float16 || dtype == mx::bfloat16, "scales are no floats");
  check(biases.dtype() == dtype && scales.size() > 0, "biases are not of the scales' type, or there are none");
}

void check_float32(const mx::array& a, int dims) {
  check(a.dtype() == mx::float32, "an array is not float32");
  check(static_cast<int>(a.ndim()) >= dims && a.size() > 0, "an array has too few dimensions, or is empty");
}

// dense is a itself if it is known to lie in memory row by row, else what makes it so.
mx::array dense(const mx::array& a, const mx::Stream& s) {
  const bool known = a.status() == mx::array::Status::available ? a.flags().row_contiguous : pending<Kernel>(a) != nullptr;
  return known ? a : mx::contiguous(a, false, s);
}

// build calls make and gives its array to res.
template <typename Make>
int build(mlx_array* res, Make make) {
  try {
    mx::array a = make();
    if (res->ctx != nullptr) {
      *static_cast<mx::array*>(res->ctx) = std::move(a);
    } else {
      res->ctx = new mx::array(std::move(a));
    }
    return 0;
  } catch (const std::exception& e) {
    _mlx_error(__FILE__, __LINE__, "%s", e.what());
    return 1;
  }
}

} // namespace

void x86_use(enum qmm_isa isa) { instructions = isa; }

int x86_silu(mlx_array* res, mlx_array x_, mlx_stream s) {
  return build(res, [&] {
    const auto& x = get(x_);
    check_float32(x, 1);
    return mx::array(
        x.shape(), mx::float32, std::make_shared<RowKernel>(get(s), Elementwise::silu, 0.0f),
        {dense(x, get(s))});
  });
}

int x86_gated_silu(mlx_array* res, mlx_array gate_up, mlx_stream s) {
  return build(res, [&] {
    const auto& x = get(gate_up);
    check_float32(x, 1);
    check(x.shape(-1) % 2 == 0, "the last axis is odd");
    auto shape = x.shape();
    shape.back() /= 2;
    if (const auto* gate_up = pending_product(x)) {
      auto options = gate_up->options;
      options.gated = true;
      return product(std::move(shape), options, x.inputs(), get(s));
    }
    return mx::array(
        std::move(shape), mx::float32, std::make_shared<RowKernel>(get(s), Elementwise::gated_silu, 0.0f),
        {dense(x, get(s))});
  });
}

int x86_rms_norm(mlx_array* res, mlx_array x_, mlx_array weight_, float eps, mlx_stream s) {
  return build(res, [&] {
    const auto& x = get(x_);
    check_float32(x, 1);
    std::vector<mx::array> inputs{dense(x, get(s))};
    if (weight_.ctx != nullptr) {
      const auto& weight = get(weight_);
      check_float32(weight, 1);
      check(weight.ndim() == 1 && weight.shape(0) == x.shape(-1), "the weight is not as long as the last axis");
      inputs.push_back(dense(weight, get(s)));
    }
    return mx::array(
        x.shape(), mx::float32, std::make_shared<RowKernel>(get(s), Elementwise::rms_norm, eps), std::move(inputs));
  });
}

int x86_causal_softmax(mlx_array* res, mlx_array scores, float scale, int window, mlx_stream s) {
  return build(res, [&] {
    const auto& x = get(scores);
    check_float32(x, 2);
    check(x.shape(-2) <= x.shape(-1), "there are more causal queries than keys");
    check(window >= 0, "the window is negative");
    return mx::array(
        x.shape(), mx::float32, std::make_shared<SoftmaxKernel>(get(s), scale, window),
        {dense(x, get(s))});
  });
}

int x86_quantized_matmul(
    mlx_array* res, mlx_array x_, mlx_array w_, mlx_array scales_, mlx_array biases_, int group, int bits,
    mlx_stream s) {
  return build(res, [&] {
    const auto &x = get(x_), &w = get(w_), &scales = get(scales_), &biases = get(biases_);
    check_float32(x, 1);
    check_scales(scales, biases);
    check_format(x.shape(-1), group, bits);
    const int k = x.shape(-1);
    check(w.dtype() == mx::uint32 && w.ndim() == 2 && w.shape(1) == k / 32 * bits, "codes are not uint32 [n, k * bits / 32]");
    const mx::Shape groups{w.shape(0), k / group};
    check(scales.shape() == groups && biases.shape() == groups, "scales or biases are not [n, k / group]");
    auto shape = x.shape();
    shape.back() = w.shape(0);
    QuantizedMatMulKernel::Options options{group, bits};
    std::vector<mx::array> inputs{
        dense(x, get(s)), dense(w, get(s)), dense(scales, get(s)),
        dense(biases, get(s))};
    const auto* norm = pending<RowKernel>(x);
    if (norm != nullptr && norm->what == Elementwise::rms_norm) {
      options.normed = true;
      options.eps = norm->eps;
      options.weighted = x.inputs().size() > 1;
      inputs[0] = x.inputs()[0];
      inputs.insert(inputs.end(), x.inputs().begin() + 1, x.inputs().end());
    }
    return product(std::move(shape), options, std::move(inputs), get(s));
  });
}

int x86_gather_quantized_matmul(
    mlx_array* res, mlx_array x_, mlx_array w_, mlx_array scales_, mlx_array biases_, mlx_array indices_, int group,
    int bits, mlx_stream s) {
  return build(res, [&] {
    const auto &x = get(x_), &w = get(w_), &scales = get(scales_), &biases = get(biases_), &indices = get(indices_);
    check_float32(x, 2);
    check_scales(scales, biases);
    check_format(x.shape(-1), group, bits);
    const int k = x.shape(-1);
    check(w.dtype() == mx::uint32 && w.ndim() == 3 && w.shape(2) == k / 32 * bits, "codes are not uint32 [e, n, k * bits / 32]");
    const mx::Shape groups{w.shape(0), w.shape(1), k / group};
    check(scales.shape() == groups && biases.shape() == groups, "scales or biases are not [e, n, k / group]");
    check(indices.dtype() == mx::uint32 || indices.dtype() == mx::int32, "indices are not of 32 bits");
    check(indices.ndim() > 0 && indices.size() > 0 && x.ndim() == indices.ndim() + 2 && x.shape(-2) == 1, "x is not [..., 1, k]");
    for (int i = 0; i < static_cast<int>(indices.ndim()); i++) {
      const bool last = i == static_cast<int>(indices.ndim()) - 1;
      check(x.shape(i) == indices.shape(i) || (last && x.shape(i) == 1), "x has other leading axes than indices");
    }
    auto shape = indices.shape();
    shape.push_back(1);
    shape.push_back(w.shape(1));
    return mx::array(
        std::move(shape), mx::float32, std::make_shared<GatherKernel>(get(s), group, bits),
        {dense(x, get(s)), dense(w, get(s)), dense(scales, get(s)), dense(biases, get(s)), dense(indices, get(s))});
  });
}

int x86_add(mlx_array* res, mlx_array a_, mlx_array b_, mlx_stream s) {
  return build(res, [&] {
    // What is added to the columns of a product is added by it.
    const auto fused = [&](const mx::array& columns, const mx::array& other) -> std::optional<mx::array> {
      const auto* pending = pending_product(columns);
      if (pending == nullptr || other.dtype() != mx::float32) {
        return std::nullopt;
      }
      const bool row = other.ndim() == 1 && other.shape(0) == columns.shape(-1);
      if (!row && other.shape() != columns.shape()) {
        return std::nullopt;
      }
      auto options = pending->options;
      options.adds = true;
      options.add_row = row;
      auto inputs = columns.inputs();
      inputs.push_back(dense(other, get(s)));
      return product(columns.shape(), options, std::move(inputs), get(s));
    };
    const auto &a = get(a_), &b = get(b_);
    if (auto sum = fused(b, a)) {
      return *sum;
    }
    if (auto sum = fused(a, b)) {
      return *sum;
    }
    return mx::add(a, b, get(s));
  });
}

int x86_rope(
    mlx_array* res, mlx_array x_, int dims, bool traditional, float base, float scale, int offset, mlx_array offsets_,
    mlx_array wavelengths_, mlx_stream s) {
  return build(res, [&] {
    const auto& x = get(x_);
    check_float32(x, 4);
    check(x.ndim() == 4, "heads need four axes");
    check(dims > 0 && dims % 2 == 0 && dims <= x.shape(3), "an odd number of dimensions is to turn, or more than there are");
    RotateKernel::Options options{
        dims / 2, traditional, scale, offset, offsets_.ctx != nullptr, wavelengths_.ctx != nullptr, nullptr};
    std::vector<mx::array> inputs{x};
    if (options.offsets) {
      const auto& offsets = get(offsets_);
      check(offsets.dtype() == mx::int32 && offsets.size() == static_cast<size_t>(x.shape(0)), "offsets are not int32 [b]");
      inputs.push_back(dense(offsets, get(s)));
    }
    if (options.wavelengths) {
      const auto& wavelengths = get(wavelengths_);
      check_float32(wavelengths, 1);
      check(wavelengths.size() == static_cast<size_t>(options.half), "there is not one wavelength for two dimensions");
      inputs.push_back(dense(wavelengths, get(s)));
    } else {
      options.inverse = inverse_frequencies(base, options.half, get(s));
    }
    return mx::array(
        x.shape(), mx::float32, std::make_shared<RotateKernel>(get(s), std::move(options)), std::move(inputs));
  });
}

int x86_attend(
    mlx_array* res, mlx_array q_, mlx_array k_, mlx_array v_, mlx_array counts_, float scale, mlx_stream s) {
  return build(res, [&] {
    const auto &q = get(q_), &k = get(k_), &v = get(v_);
    for (const auto* a : {&q, &k, &v}) {
      check_float32(*a, 4);
      check(a->ndim() == 4, "queries, keys and values need four axes");
    }
    check(q.shape(2) == 1 && q.shape(0) == k.shape(0), "there is not one query a row");
    check(k.shape() == v.shape() && k.shape(3) == q.shape(3), "queries, keys and values differ in shape");
    check(q.shape(1) % k.shape(1) == 0 && q.shape(3) % 8 == 0, "the heads do not group, or are no multiple of 8 wide");
    std::vector<mx::array> inputs{dense(q, get(s)), k, v};
    if (counts_.ctx != nullptr) {
      const auto& counts = get(counts_);
      check(counts.dtype() == mx::int32 && counts.size() == static_cast<size_t>(q.shape(0)), "counts are not int32 [b]");
      inputs.push_back(dense(counts, get(s)));
    }
    return mx::array(q.shape(), mx::float32, std::make_shared<AttendKernel>(get(s), scale), std::move(inputs));
  });
}
