/* What every dfqgen kernel shares: types, the inlining seam, requantization.
 *
 * Kernels are `static` functions in headers. With DFQ_OPTIMIZE_SIZE they stay ordinary functions shared
 * by all layers of a network; otherwise they are inlined into each layer, where shapes are constants.
 */
#ifndef DFQ_COMMON_H
#define DFQ_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DFQ_UNUSED __attribute__((unused))
#define DFQ_ALIGNED(bytes) __attribute__((aligned(bytes)))
#if defined(DFQ_OPTIMIZE_SIZE)
#define DFQ_KERNEL static DFQ_UNUSED __attribute__((noinline))
#else
#define DFQ_KERNEL static inline DFQ_UNUSED __attribute__((always_inline))
#endif
#define DFQ_INLINE static inline DFQ_UNUSED __attribute__((always_inline))
#else
#define DFQ_UNUSED
#define DFQ_ALIGNED(bytes)
#define DFQ_KERNEL static
#define DFQ_INLINE static
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
    return value < lo ? lo : value > hi ? hi : value;
}

/* clamp(zero_point + (((acc << pre_shift) * multiplier + 2^31) >> 32), lo, hi); the compiler has proved
 * that acc << pre_shift and the sum with zero_point stay within 32 bits. */
DFQ_INLINE int8_t dfq_requantize(int32_t acc, int32_t pre_shift, int32_t multiplier, int32_t zero_point,
                                 int32_t lo, int32_t hi)
{
    const int32_t scaled = dfq_multiply_round(acc * (int32_t)((uint32_t)1 << pre_shift), multiplier);
    return (int8_t)dfq_clamp(scaled + zero_point, lo, hi);
}

/* The same for a multiplier of 2^(32 - shift), 1 <= shift: no long multiplication. */
DFQ_INLINE int8_t dfq_requantize_shift(int32_t acc, int32_t shift, int32_t zero_point, int32_t lo, int32_t hi)
{
    const int32_t half = (int32_t)((uint32_t)1 << (shift - 1));
    return (int8_t)dfq_clamp(dfq_shift_right(acc + half, shift) + zero_point, lo, hi);
}

#endif
