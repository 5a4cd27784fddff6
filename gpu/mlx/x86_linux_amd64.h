// Operations of the CPU backend on x86-64 with AVX2, beside mlx-c's: MLX's own are scalar code
// there. All take and give float32 and return 0, or not 0 after leaving a message as mlx-c does.
#ifndef MLX_WORKER_X86_LINUX_AMD64_H
#define MLX_WORKER_X86_LINUX_AMD64_H

#include <stdbool.h>

#include "mlx/c/mlx.h"
#include "qmm_linux.h"

#ifdef __cplusplus
extern "C" {
#endif

// Sets the instructions to use, of those that the processor has. Not while anything is computed.
void x86_use(enum qmm_isa isa);

// x * sigmoid(x), elementwise.
int x86_silu(mlx_array* res, mlx_array x, mlx_stream s);

// silu(gate) * up for gate_up [..., 2 n], gate first; [..., n].
int x86_gated_silu(mlx_array* res, mlx_array gate_up, mlx_stream s);

// x / sqrt(mean(x²) + eps) * weight over the last axis; weight may be null.
int x86_rms_norm(mlx_array* res, mlx_array x, mlx_array weight, float eps, mlx_stream s);

// softmax(scale * scores) over the last axis of scores [..., l, s], of which row i sees the first
// s - l + i + 1 columns, and of those the last window (0: all).
int x86_causal_softmax(mlx_array* res, mlx_array scores, float scale, int window, mlx_stream s);

// x @ wᵀ for affinely quantised w as MLX stores it: w uint32 [n, k * bits / 32], scales and biases of one
// float type [n, k / group], group a multiple of 32; x [..., k] gives [..., n]. All is computed in float32.
int x86_quantized_matmul(
    mlx_array* res, mlx_array x, mlx_array w, mlx_array scales, mlx_array biases, int group, int bits, mlx_stream s);

// x86_quantized_matmul by matrices of w [e, n, k * bits / 32], scales and biases [e, n, k / group]
// that indices, uint32 or int32 [...], name: x [..., 1, k], whose last leading axis may be 1 for all,
// gives [..., 1, n].
int x86_gather_quantized_matmul(
    mlx_array* res, mlx_array x, mlx_array w, mlx_array scales, mlx_array biases, mlx_array indices, int group, int bits,
    mlx_stream s);

// a + b. What one of the operations above is to compute anyway is done by it where that is possible;
// the same holds for x86_gated_silu, and for the norm of x in x86_quantized_matmul.
int x86_add(mlx_array* res, mlx_array a, mlx_array b, mlx_stream s);

// Rotary position embedding of x [b, heads, l, d], whose last axis is dense: the first dims of d by
// positions times scale, which begin at offset, or at offsets (int32 [b]) if not null. Wavelengths
// over 2π are float32 [dims / 2], or, if null, those of base.
int x86_rope(
    mlx_array* res, mlx_array x, int dims, bool traditional, float base, float scale, int offset, mlx_array offsets,
    mlx_array wavelengths, mlx_stream s);

// Attention of one query a row: q [b, heads, 1, d], k and v [b, kv_heads, s, d] whose last axis is
// dense, d a multiple of 8; row i sees the first counts[i] positions (int32 [b]; null: all). It
// gives [b, heads, 1, d].
int x86_attend(mlx_array* res, mlx_array q, mlx_array k, mlx_array v, mlx_array counts, float scale, mlx_stream s);

#ifdef __cplusplus
}
#endif

#endif
