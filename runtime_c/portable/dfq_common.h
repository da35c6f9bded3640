/* SPDX-License-Identifier: MIT-0 */
/* What every dfqgen kernel shares: types, the inlining seam, requantization, copying.
 *
 * Kernels are `static` functions in headers; the first parameter is the layer's constant descriptor. By
 * default they are inlined into each layer, where every shape is a constant. With DFQ_OPTIMIZE_SIZE they
 * stay ordinary functions shared by all layers of a network. DFQ_LAYER marks the function of one layer,
 * DFQ_SHARED one that all layers call as it is, made once, and DFQ_PART a part of a kernel: inlined like the
 * kernel, or with DFQ_OPTIMIZE_SIZE shared by all kernels.
 */
#ifndef DFQ_COMMON_H
#define DFQ_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dfq_align.h"

#if defined(__GNUC__)
#define DFQ_UNUSED __attribute__((unused))
#define DFQ_MAY_ALIAS __attribute__((may_alias))
#define DFQ_INLINE static inline DFQ_UNUSED __attribute__((always_inline))
#if defined(__clang__) || __GNUC__ < 8
#define DFQ_NOINLINE static DFQ_UNUSED __attribute__((noinline))
#else
/* GCC 12 may turn the pointer of a loop into a number and then take the function, which stores through it, for one
 * without effect, and leave out the call (seen: a slice with a step of 2 on a Cortex-M4, from -O1 on). noipa, which
 * implies noinline, keeps it from concluding anything about the function. */
#define DFQ_NOINLINE static DFQ_UNUSED __attribute__((noipa))
#endif
#define DFQ_SHARED DFQ_NOINLINE
#if defined(DFQ_OPTIMIZE_SIZE)
#define DFQ_PART DFQ_SHARED
#define DFQ_KERNEL DFQ_NOINLINE
#define DFQ_LAYER DFQ_INLINE
#else
#define DFQ_PART DFQ_INLINE
#define DFQ_KERNEL DFQ_INLINE
#define DFQ_LAYER DFQ_NOINLINE
#endif
#else
#define DFQ_UNUSED
#define DFQ_MAY_ALIAS
#define DFQ_INLINE static
#define DFQ_NOINLINE static
#define DFQ_SHARED static
#define DFQ_PART static
#define DFQ_KERNEL static
#define DFQ_LAYER static
#endif

/* Thumb-1 (Cortex-M0, M0+): only eight registers do arithmetic. */
#if defined(__thumb__) && !defined(__thumb2__)
#define DFQ_EIGHT_REGISTERS 1
#endif

/* Before a loop: the compiler should unroll it that many times. */
#define DFQ_PRAGMA(text) _Pragma(#text)
#if defined(DFQ_OPTIMIZE_SIZE)
#define DFQ_UNROLL(times)
#elif defined(__clang__)
#define DFQ_UNROLL(times) DFQ_PRAGMA(clang loop unroll_count(times))
#elif defined(__GNUC__) && __GNUC__ >= 8
#define DFQ_UNROLL(times) DFQ_PRAGMA(GCC unroll times)
#else
#define DFQ_UNROLL(times)
#endif

/* Shift right rounding towards minus infinity; `>>` of a negative value is implementation-defined in C99,
 * and every compiler this runs on shifts in the sign. */
DFQ_INLINE int32_t dfq_shift_right(int32_t value, int32_t bits)
{
    return value >> bits;
}

/* (acc * multiplier + 2^31) >> 32: one SMMULR on Armv7E-M. */
DFQ_INLINE int32_t dfq_multiply_round(int32_t acc, int32_t multiplier)
{
    return (int32_t)(((int64_t)acc * multiplier + INT64_C(0x80000000)) >> 32);
}

DFQ_INLINE int32_t dfq_clamp(int32_t value, int32_t lo, int32_t hi)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_SAT) && !defined(__ARM_FEATURE_MVE)
    if (lo == INT8_MIN && hi == INT8_MAX) { /* compilers write five instructions */
        int32_t saturated;
        __asm__("ssat %0, #8, %1" : "=r"(saturated) : "r"(value));
        return saturated;
    }
#endif
    return value < lo ? lo : value > hi ? hi : value;
}

DFQ_INLINE int32_t dfq_min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

DFQ_INLINE int32_t dfq_max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* How int32 accumulators become int8. A NULL table means one value for all channels, in the field below.
 *
 * Multiplier form (shift = 0 and no shifts):
 *     clamp(zero_point + (((acc << pre_shift) * multiplier + 2^31) >> 32), lo, hi)
 * Shift form, for scales that are powers of two; needs no long multiplication. The rounding half and the
 * zero point are already in the bias:
 *     clamp(acc >> shift, lo, hi)
 * The compiler has proved that no step leaves 32 bits.
 */
typedef struct {
    const DFQ_FLASH int32_t *multipliers;
    const DFQ_FLASH int8_t *shifts;
    const DFQ_FLASH int8_t *los;
    const DFQ_FLASH int8_t *his;
    int32_t multiplier;
    int32_t pre_shift;
    int32_t shift;
    int32_t zero_point;
    int32_t lo;
    int32_t hi;
} dfq_requantize_t;

DFQ_PART int8_t dfq_requantize(const dfq_requantize_t *form, int32_t acc, int32_t channel)
{
    const int32_t lo = form->los != NULL ? form->los[channel] : form->lo;
    const int32_t hi = form->his != NULL ? form->his[channel] : form->hi;
    if (form->shifts != NULL) {
        return (int8_t)dfq_clamp(dfq_shift_right(acc, form->shifts[channel]), lo, hi);
    }
    if (form->shift != 0) {
        return (int8_t)dfq_clamp(dfq_shift_right(acc, form->shift), lo, hi);
    }
    const int32_t multiplier = form->multipliers != NULL ? form->multipliers[channel] : form->multiplier;
    const int32_t shifted = acc * (int32_t)((uint32_t)1 << form->pre_shift);
    /* The zero point rides in the upper word of the rounding constant. */
    const int64_t offset = (int64_t)form->zero_point * INT64_C(0x100000000) + INT64_C(0x80000000);
    return (int8_t)dfq_clamp((int32_t)(((int64_t)shifted * multiplier + offset) >> 32), lo, hi);
}

typedef uint32_t DFQ_MAY_ALIAS dfq_word_t;
typedef int16_t DFQ_MAY_ALIAS dfq_half_t;

/* Copy `count` bytes upwards; `to` may lie below `from` in the same buffer. */
DFQ_INLINE void dfq_copy(int8_t *to, const int8_t *from, int32_t count)
{
    int32_t i = 0;
    if ((((uintptr_t)to | (uintptr_t)from) & 3u) == 0u) {
        for (; i + 4 <= count; i += 4) {
            *(dfq_word_t *)(void *)(to + i) = *(const dfq_word_t *)(const void *)(from + i);
        }
    }
    for (; i < count; i++) {
        to[i] = from[i];
    }
}

DFQ_INLINE void dfq_fill(int8_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        to[i] = (int8_t)value;
    }
}

#endif
