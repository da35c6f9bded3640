/* SPDX-License-Identifier: MIT-0 */
/* Weights of 2, 3, 4 or 6 bits to bytes on Helium: dfq_unpack.h's order with vectors of 16 bytes for words, a few
 * instructions for 16 weights.
 */
#ifndef DFQ_MVE_UNPACK_H
#define DFQ_MVE_UNPACK_H

#include "../portable/dfq_unpack.h"
#include "dfq_mve.h"

#define DFQ_MVE_GROUP 128 /* weights */

#if DFQ_MVE

/* Field i of `width` bits of a vector of packed weights. */
DFQ_INLINE uint8x16_t dfq_mve_field(const uint8_t *from, int32_t i, int32_t width)
{
    const uint8x16_t shifted = vshlq_r_u8(vldrbq_u8(from), -width * i);
    return vandq_u8(shifted, vdupq_n_u8((uint8_t)((1u << width) - 1u)));
}

#else

typedef struct {
    uint8_t lanes[16];
} dfq_mve_bytes_t;

DFQ_INLINE dfq_mve_bytes_t dfq_mve_field(const uint8_t *from, int32_t i, int32_t width)
{
    dfq_mve_bytes_t field;
    for (int32_t lane = 0; lane < 16; lane++) {
        field.lanes[lane] = (uint8_t)(from[lane] >> (width * i) & ((1 << width) - 1));
    }
    return field;
}

#endif

/* Vector i of a group: upper fields of `upper` bits at `from`, lower fields of `lower` bits (0: none) after them. */
DFQ_INLINE void dfq_mve_unpack_vector(const uint8_t *from, int32_t i, int32_t upper, int32_t lower, int8_t *to)
{
    const int32_t half = 1 << (upper + lower - 1);
    const int32_t per_byte = 8 / upper;
#if DFQ_MVE
    uint8x16_t value = dfq_mve_field(from + i / per_byte * 16, i % per_byte, upper);
    if (lower != 0) {
        const int32_t lower_per_byte = 8 / lower;
        value = vorrq_u8(vshlq_r_u8(value, lower),
                         dfq_mve_field(from + (upper + i / lower_per_byte) * 16, i % lower_per_byte, lower));
    }
    vstrbq_u8((uint8_t *)to, vsubq_n_u8(value, (uint8_t)half));
#else
    const dfq_mve_bytes_t high = dfq_mve_field(from + i / per_byte * 16, i % per_byte, upper);
    for (int32_t lane = 0; lane < 16; lane++) {
        int32_t value = high.lanes[lane] << lower;
        if (lower != 0) {
            const int32_t lower_per_byte = 8 / lower;
            value |= dfq_mve_field(from + (upper + i / lower_per_byte) * 16, i % lower_per_byte, lower).lanes[lane];
        }
        to[lane] = (int8_t)(value - half);
    }
#endif
}

/* Groups that hold `count` weights; returns what follows them. */
DFQ_INLINE const uint8_t *dfq_mve_unpack_groups(const uint8_t *from, int32_t upper, int32_t lower, int32_t count,
                                                int8_t *to)
{
    for (int32_t done = 0; done < count; done += DFQ_MVE_GROUP, to += DFQ_MVE_GROUP) {
        DFQ_UNROLL(8)
        for (int32_t i = 0; i < 8; i++) {
            dfq_mve_unpack_vector(from, i, upper, lower, to + 16 * i);
        }
        from += 16 * (upper + lower);
    }
    return from;
}

DFQ_NOINLINE const uint8_t *dfq_mve_unpack(const uint8_t *from, int32_t bits, int32_t count, int8_t *to)
{
    switch (bits) {
    case 2:
        return dfq_mve_unpack_groups(from, 2, 0, count, to);
    case 3:
        return dfq_mve_unpack_groups(from, 2, 1, count, to);
    case 4:
        return dfq_mve_unpack_groups(from, 4, 0, count, to);
    default:
        return dfq_mve_unpack_groups(from, 4, 2, count, to);
    }
}

/* Scratch of `count` unpacked weights. */
DFQ_INLINE int32_t dfq_mve_unpacked_bytes(int32_t count)
{
    return (count + DFQ_MVE_GROUP - 1) / DFQ_MVE_GROUP * DFQ_MVE_GROUP;
}

#endif
