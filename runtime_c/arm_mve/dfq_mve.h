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

#include "../include/dfq_common.h"

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
 * bias holds (bias << pre_shift). Bounds: `narrow` 0 means those of int8; else los, his [channels] or, where
 * these are NULL, lo and hi for all. Each kernel says how weight, bias and multipliers are packed.
 */
typedef struct {
    const int8_t *weight;
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *los;
    const int8_t *his;
    int32_t depth; /* products of a sum, zeros not counted */
    int32_t channels;
    int32_t pre_shift;
    int32_t zero_point;
    int32_t narrow;
    int32_t lo;
    int32_t hi;
} dfq_mve_linear_t;

/* One accumulator; `index` is its place in bias and multipliers. */
DFQ_INLINE int8_t dfq_mve_requantize(const dfq_mve_linear_t *linear, int32_t acc, int32_t index, int32_t channel)
{
    const int32_t sum = acc * (int32_t)((uint32_t)1 << linear->pre_shift) + linear->bias[index];
    const int32_t value = dfq_multiply_round(sum, linear->multipliers[index]) + linear->zero_point;
    const int32_t lo = !linear->narrow ? INT8_MIN : linear->los != NULL ? linear->los[channel] : linear->lo;
    const int32_t hi = !linear->narrow ? INT8_MAX : linear->his != NULL ? linear->his[channel] : linear->hi;
    return (int8_t)dfq_clamp(value, lo, hi);
}

#if DFQ_MVE

/* Narrow two vectors of int32 into one of int16 with saturation, lanes alternating: e0 o0 e1 o1 ... */
DFQ_INLINE int16x8_t dfq_mve_narrow_32(int32x4_t even, int32x4_t odd)
{
    return vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(even), even), odd);
}

DFQ_INLINE int8x16_t dfq_mve_narrow_16(int16x8_t even, int16x8_t odd)
{
    return vqmovntq_s16(vqmovnbq_s16(vreinterpretq_s8_s16(even), even), odd);
}

/* Accumulators that still want their pre-shift; rare, so out of the way of the others. */
DFQ_NOINLINE void dfq_mve_shift(int32_t *acc, int32_t count, int32_t pre_shift)
{
    for (int32_t i = 0; i < count; i += 4) {
        vstrwq_s32(acc + i, vshlq_r_s32(vldrwq_s32(acc + i), pre_shift));
    }
}

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
