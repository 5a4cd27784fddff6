// C side of the binding: what must not be Go.
#ifndef MLX_WORKER_BRIDGE_H
#define MLX_WORKER_BRIDGE_H

#include <stddef.h>

#include "mlx/c/mlx.h"

// Replaces mlx-c's default handler, which prints to stdout and exits. Call once, before any
// other thread uses MLX: the handler is a global.
void bridge_install_error_handler(void);

// The message of the last failed call on this thread, or "" if none; reading it clears it.
// Valid until the next failing call on this thread.
const char* bridge_take_error(void);

// Frees n array handles. Returns the first non-zero return code.
int bridge_free_arrays(const mlx_array* arrays, size_t n);

// Evaluates n arrays together, blocking or not. Returns mlx-c's return code.
int bridge_eval(const mlx_array* arrays, size_t n, bool async);

// Concatenates n arrays along an axis without a vector handle crossing into Go.
int bridge_concatenate(mlx_array* res, const mlx_array* arrays, size_t n, int axis, mlx_stream s);

// mlx_scatter over n axes without a vector handle crossing into Go.
int bridge_scatter(
    mlx_array* res,
    const mlx_array a,
    const mlx_array* indices,
    const int* axes,
    size_t n,
    const mlx_array updates,
    mlx_stream s);

// mlx_quantize's three results in one call.
int bridge_quantize(
    mlx_array* weight,
    mlx_array* scales,
    mlx_array* biases,
    const mlx_array w,
    int group_size,
    int bits,
    const char* mode,
    mlx_stream s);

#endif
