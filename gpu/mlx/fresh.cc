#include "fresh.h"

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include "mlx/allocator.h"
#include "mlx/array.h"

namespace mx = mlx::core;

namespace {

// type_of is MLX's name for a dtype of mlx-c. The table is private to mlx-c; its arrays tell.
mx::Dtype type_of(mlx_dtype dtype) {
  const double zero[2] = {}; // as long as an element of any type
  mlx_array sample = mlx_array_new_data(zero, nullptr, 0, dtype);
  if (sample.ctx == nullptr) {
    throw std::invalid_argument("unknown dtype " + std::to_string(dtype));
  }
  mx::Dtype type = static_cast<const mx::array*>(sample.ctx)->dtype();
  if (mlx_array_free(sample) != 0) {
    throw std::runtime_error("an array could not be freed");
  }
  return type;
}

template <typename F>
int guarded(F f) {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    _mlx_error(__FILE__, __LINE__, "%s", e.what());
    return 1;
  }
}

} // namespace

int fresh_array(mlx_array* res, void** data, const int* shape, int dim, mlx_dtype dtype) {
  return guarded([&] {
    mx::Dtype type = type_of(dtype);
    size_t bytes = mx::size_of(type);
    for (int i = 0; i < dim; i++) {
      bytes *= shape[i];
    }
    mx::allocator::Buffer buffer = mx::allocator::malloc(bytes);
    if (buffer.ptr() == nullptr) {
      throw std::runtime_error("no memory for " + std::to_string(bytes) + " bytes");
    }
    mx::array made(buffer, mx::Shape(shape, shape + dim), type); // available, as host data is
    *data = buffer.raw_ptr();
    res->ctx = new mx::array(std::move(made));
  });
}

int fresh_elements(const void** data, mlx_array a) {
  return guarded([&] {
    const mx::array& array = *static_cast<const mx::array*>(a.ctx);
    if (!array.is_available() || !array.flags().row_contiguous) {
      throw std::invalid_argument("the array is not evaluated, or not dense");
    }
    *data = array.data<char>();
  });
}
