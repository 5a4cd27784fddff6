#include "bridge.h"

#include <stdio.h>

// The handler runs on the calling thread, so a thread-local buffer needs no lock.
static _Thread_local char last_error[4096];

static void keep_error(const char* message, void* data) {
  (void)data;
  snprintf(last_error, sizeof last_error, "%s", message);
}

void bridge_install_error_handler(void) {
  mlx_set_error_handler(keep_error, NULL, NULL);
}

const char* bridge_take_error(void) {
  static _Thread_local char taken[sizeof last_error];
  snprintf(taken, sizeof taken, "%s", last_error);
  last_error[0] = '\0';
  return taken;
}

int bridge_free_arrays(const mlx_array* arrays, size_t n) {
  int first = 0;
  for (size_t i = 0; i < n; i++) {
    int rc = mlx_array_free(arrays[i]);
    if (first == 0) {
      first = rc;
    }
  }
  return first;
}

int bridge_eval(const mlx_array* arrays, size_t n, bool async) {
  mlx_vector_array outputs = mlx_vector_array_new_data(arrays, n);
  if (outputs.ctx == NULL) {
    return 1;
  }
  int rc = async ? mlx_async_eval(outputs) : mlx_eval(outputs);
  int freed = mlx_vector_array_free(outputs);
  return rc != 0 ? rc : freed;
}

int bridge_concatenate(mlx_array* res, const mlx_array* arrays, size_t n, int axis, mlx_stream s) {
  mlx_vector_array parts = mlx_vector_array_new_data(arrays, n);
  if (parts.ctx == NULL) {
    return 1;
  }
  int rc = mlx_concatenate_axis(res, parts, axis, s);
  int freed = mlx_vector_array_free(parts);
  return rc != 0 ? rc : freed;
}

int bridge_scatter(
    mlx_array* res,
    const mlx_array a,
    const mlx_array* indices,
    const int* axes,
    size_t n,
    const mlx_array updates,
    mlx_stream s) {
  mlx_vector_array all = mlx_vector_array_new_data(indices, n);
  if (all.ctx == NULL) {
    return 1;
  }
  int rc = mlx_scatter(res, a, all, updates, axes, n, s);
  int freed = mlx_vector_array_free(all);
  return rc != 0 ? rc : freed;
}

int bridge_quantize(
    mlx_array* weight,
    mlx_array* scales,
    mlx_array* biases,
    const mlx_array w,
    int group_size,
    int bits,
    const char* mode,
    mlx_stream s) {
  mlx_vector_array parts = mlx_vector_array_new();
  mlx_array no_global_scale = {0};
  mlx_optional_int group = {group_size, true};
  mlx_optional_int width = {bits, true};
  int rc = mlx_quantize(&parts, w, group, width, mode, no_global_scale, s);
  if (rc == 0) {
    rc = mlx_vector_array_get(weight, parts, 0);
  }
  if (rc == 0) {
    rc = mlx_vector_array_get(scales, parts, 1);
  }
  if (rc == 0 && mlx_vector_array_size(parts) > 2) {
    rc = mlx_vector_array_get(biases, parts, 2);
  }
  int freed = mlx_vector_array_free(parts);
  return rc != 0 ? rc : freed;
}
