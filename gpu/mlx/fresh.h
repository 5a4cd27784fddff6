// Arrays whose memory the host writes and reads itself, on backends where it can (Backend.SharesMemory).
// Functions return 0, or not 0 after leaving a message as mlx-c does, and may run on any thread.
#ifndef MLX_WORKER_FRESH_H
#define MLX_WORKER_FRESH_H

#include "mlx/c/mlx.h"

#ifdef __cplusplus
extern "C" {
#endif

// A dense, row-major array from MLX's allocator with whatever that memory held. Nothing but the
// caller may use res until *data, valid as long as res, is filled.
int fresh_array(mlx_array* res, void** data, const int* shape, int dim, mlx_dtype dtype);

// The elements of a, which is evaluated and dense, row-major; valid as long as a.
int fresh_elements(const void** data, mlx_array a);

#ifdef __cplusplus
}
#endif

#endif
