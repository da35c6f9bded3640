/* SPDX-License-Identifier: MIT-0 */
/* What the Helium (MVE) kernels share: copying, and the end of a layer.
 *
 * Every kernel has two bodies over the same packed constants: MVE where DFQ_MVE is 1, and plain C with the
 * same result anywhere else, so that a folder generated for a Cortex-M55 runs on a development machine.
 *
 * Tensors may lie at any address and are only read and written with byte accesses, never beyond their ends.
 * Scratch is 16-byte aligned.
 */
#ifndef DFQ_MVE_H
#define DFQ_MVE_H

#include "../portable/dfq_common.h"

#if defined(__GNUC__) && defined(__ARM_FEATURE_MVE)
#define DFQ_MVE 1
#include <arm_mve.h>
#else
#define DFQ_MVE 0
#endif

/* Weights, and how accumulators become int8:
 *
 *     clamp(zero_point + (((acc + bias) << pre_shift) * multiplier + 2^31 >> 32), lo, hi)
 *
 * bias holds (bias << pre_shift). los and his [channels] are NULL where the bounds are those of int8.
 * Each kernel says how weight, bias and multipliers are packed.
 */
typedef struct {
    const int8_t *weight;
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *los;
    const int8_t *his;
    int32_t depth; /* products of a sum, zeros not counted */
    int32_t channels;
    int32_t pitch; /* from one output pixel to the next, in bytes; matrix products only */
    int32_t pre_shift;
    int32_t zero_point;
} dfq_mve_linear_t;

/* One accumulator; `index` is its place in bias and multipliers. */
DFQ_INLINE int8_t dfq_mve_requantize(const dfq_mve_linear_t *linear, int32_t acc, int32_t index, int32_t channel)
{
    const int32_t sum = acc * (int32_t)((uint32_t)1 << linear->pre_shift) + linear->bias[index];
    const int32_t value = dfq_multiply_round(sum, linear->multipliers[index]) + linear->zero_point;
    const int32_t lo = linear->los != NULL ? linear->los[channel] : INT8_MIN;
    const int32_t hi = linear->his != NULL ? linear->his[channel] : INT8_MAX;
    return (int8_t)dfq_clamp(value, lo, hi);
}

/* A function written wholly in assembly, called by the AAPCS with a pointer to its operands. Without noipa GCC
 * would draw conclusions from a body it cannot read. */
#if DFQ_MVE && defined(__clang__)
#define DFQ_MVE_NAKED static DFQ_UNUSED __attribute__((naked, noinline))
#else
#define DFQ_MVE_NAKED static DFQ_UNUSED __attribute__((naked, noinline, noipa))
#endif

/* Copy `count` bytes; the buffers do not overlap. */
DFQ_INLINE void dfq_mve_copy(int8_t *to, const int8_t *from, int32_t count)
{
#if DFQ_MVE
    for (; count >= 16; count -= 16, to += 16, from += 16) {
        vstrbq_s8(to, vldrbq_s8(from));
    }
    if (count > 0) {
        const mve_pred16_t lanes = vctp8q((uint32_t)count);
        vstrbq_p_s8(to, vldrbq_z_s8(from, lanes), lanes);
    }
#else
    for (int32_t i = 0; i < count; i++) {
        to[i] = from[i];
    }
#endif
}

/* Fill whole vectors: `count` is a multiple of 16. */
DFQ_INLINE void dfq_mve_fill(int8_t *to, int32_t value, int32_t count)
{
#if DFQ_MVE
    const int8x16_t vector = vdupq_n_s8((int8_t)value);
    for (int32_t i = 0; i < count; i += 16) {
        vstrbq_s8(to + i, vector);
    }
#else
    dfq_fill(to, value, count);
#endif
}

#endif
