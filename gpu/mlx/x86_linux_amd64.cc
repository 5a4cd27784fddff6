#include "x86_linux_amd64.h"

#include <immintrin.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "blas_linux.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/mlx.h"
#include "mlx/primitives.h"

namespace mx = mlx::core;

#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE inline __attribute__((always_inline)) AVX2

namespace {

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

INLINE float sum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
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
    __m256 scale = _mm256_set1_ps(1 / std::sqrt(sum(squares) / j.width + j.eps));
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
  *total = sum(all);
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
  return sum(s);
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
  RowKernel(mx::Stream stream, Elementwise what, float eps) : Kernel(stream), what_(what), eps_(eps) {}

  const char* name() const override { return "X86RowKernel"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    auto& y = outputs[0];
    y.set_data(mx::allocator::malloc(y.nbytes()));
    const float* weight = inputs.size() > 1 ? inputs[1].data<float>() : nullptr;
    Rows job{inputs[0].data<float>(), weight, y.data<float>(), y.shape(-1), eps_};
    void (*kernel)(const void*, int, int) = silu_rows;
    size_t cost = 4; // of an element, in those of rms_norm
    switch (what_) {
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

 private:
  Elementwise what_;
  float eps_;
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

void check_float32(const mx::array& a, int dims) {
  check(a.dtype() == mx::float32, "an array is not float32");
  check(static_cast<int>(a.ndim()) >= dims && a.size() > 0, "an array has too few dimensions, or is empty");
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

bool x86_supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

int x86_silu(mlx_array* res, mlx_array x_, mlx_stream s) {
  return build(res, [&] {
    const auto& x = get(x_);
    check_float32(x, 1);
    return mx::array(
        x.shape(), mx::float32, std::make_shared<RowKernel>(get(s), Elementwise::silu, 0.0f),
        {mx::contiguous(x, false, get(s))});
  });
}

int x86_gated_silu(mlx_array* res, mlx_array gate_up, mlx_stream s) {
  return build(res, [&] {
    const auto& x = get(gate_up);
    check_float32(x, 1);
    check(x.shape(-1) % 2 == 0, "the last axis is odd");
    auto shape = x.shape();
    shape.back() /= 2;
    return mx::array(
        std::move(shape), mx::float32, std::make_shared<RowKernel>(get(s), Elementwise::gated_silu, 0.0f),
        {mx::contiguous(x, false, get(s))});
  });
}

int x86_rms_norm(mlx_array* res, mlx_array x_, mlx_array weight_, float eps, mlx_stream s) {
  return build(res, [&] {
    const auto& x = get(x_);
    check_float32(x, 1);
    std::vector<mx::array> inputs{mx::contiguous(x, false, get(s))};
    if (weight_.ctx != nullptr) {
      const auto& weight = get(weight_);
      check_float32(weight, 1);
      check(weight.ndim() == 1 && weight.shape(0) == x.shape(-1), "the weight is not as long as the last axis");
      inputs.push_back(mx::contiguous(weight, false, get(s)));
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
        {mx::contiguous(x, false, get(s))});
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
    std::vector<mx::array> inputs{mx::contiguous(q, false, get(s)), k, v};
    if (counts_.ctx != nullptr) {
      const auto& counts = get(counts_);
      check(counts.dtype() == mx::int32 && counts.size() == static_cast<size_t>(q.shape(0)), "counts are not int32 [b]");
      inputs.push_back(mx::contiguous(counts, false, get(s)));
    }
    return mx::array(q.shape(), mx::float32, std::make_shared<AttendKernel>(get(s), scale), std::move(inputs));
  });
}
