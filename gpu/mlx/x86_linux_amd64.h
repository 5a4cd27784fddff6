// Operations of the CPU backend on x86-64 with AVX2, beside mlx-c's: MLX's own are scalar code
// there. All take and give float32 and return 0, or not 0 after leaving a message as mlx-c does.
#ifndef MLX_WORKER_X86_LINUX_AMD64_H
#define MLX_WORKER_X86_LINUX_AMD64_H

#include <stdbool.h>

#include "mlx/c/mlx.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether this processor can run them.
bool x86_supported(void);

// x * sigmoid(x), elementwise.
int x86_silu(mlx_array* res, mlx_array x, mlx_stream s);

// silu(gate) * up for gate_up [..., 2 n], gate first; [..., n].
int x86_gated_silu(mlx_array* res, mlx_array gate_up, mlx_stream s);

// x / sqrt(mean(x²) + eps) * weight over the last axis; weight may be null.
int x86_rms_norm(mlx_array* res, mlx_array x, mlx_array weight, float eps, mlx_stream s);

// softmax(scale * scores) over the last axis of scores [..., l, s], of which row i sees the first
// s - l + i + 1 columns, and of those the last window (0: all).
int x86_causal_softmax(mlx_array* res, mlx_array scores, float scale, int window, mlx_stream s);

// Attention of one query a row: q [b, heads, 1, d], k and v [b, kv_heads, s, d] whose last axis is
// dense, d a multiple of 8; row i sees the first counts[i] positions (int32 [b]; null: all). It
// gives [b, heads, 1, d].
int x86_attend(mlx_array* res, mlx_array q, mlx_array k, mlx_array v, mlx_array counts, float scale, mlx_stream s);

#ifdef __cplusplus
}
#endif

#endif
