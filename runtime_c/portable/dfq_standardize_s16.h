/* SPDX-License-Identifier: MIT-0 */
/* Normalization by moments of the input: layer, RMS, instance and group normalization of int8 or int16.
 *
 *   x, out       [outer][rows][groups][width], int8 or int16 each; a block is [rows][width] of one group
 *   multipliers  a channel (group and place in it), or NULL: one for all; biases likewise
 *
 * For each block, with d = count * (x - zero point) - sum: 2^(47 - half) / sqrt(count * squares - sum^2 + epsilon) as
 * a number of 17 bits, times d, times the channel's multiplier. Squares and products have 64 bits; the compiler has
 * proved that they suffice, and 32 for all else. `out` may be `x` where both have one type and there is one group.
 * Equals QStandardize bit for bit.
 * Tested by tests/kernels/test_attention.py.
 */
#ifndef DFQ_STANDARDIZE_S16_H
#define DFQ_STANDARDIZE_S16_H

#include "dfq_wide_s16.h"

typedef struct {
    const DFQ_FLASH int32_t *multipliers, *biases;
    int64_t epsilon;
    int32_t multiplier, bias;
    int32_t outer, rows, groups, width;
    int32_t centered, in_zero_point;
    int32_t pre_shift, zero_point, lo, hi;
    int32_t in_wide, out_wide;
} dfq_standardize_s16_t;

/* The largest number whose square is not above it. */
DFQ_INLINE uint32_t dfq_root(uint32_t square)
{
    uint32_t root = 0;
    for (uint32_t bit = UINT32_C(1) << 15; bit != 0; bit >>= 1) {
        const uint32_t next = root | bit;
        root = next * next <= square ? next : root;
    }
    return root;
}

typedef struct {
    int32_t sum, inverse, half;
} dfq_moments_t;

/* Of the block that starts at element `first`. */
DFQ_PART dfq_moments_t dfq_moments(const dfq_standardize_s16_t *layer, const int8_t *x, int32_t first)
{
    const int32_t zero_point = layer->in_zero_point;
    const int32_t count = layer->rows * layer->width;
    dfq_moments_t moments = { 0, 0, 0 };
    uint64_t squares = 0;
    for (int32_t row = 0; row < layer->rows; row++) {
        for (int32_t w = 0; w < layer->width; w++) {
            const int32_t place = first + row * layer->groups * layer->width + w;
            const int32_t d = dfq_load(x, layer->in_wide, place) - zero_point;
            moments.sum += d;
            squares += (uint32_t)d * (uint32_t)d;
        }
    }
    squares *= (uint32_t)count;
    if (layer->centered) {
        squares -= (uint64_t)((int64_t)moments.sum * moments.sum);
    } else {
        moments.sum = 0;
    }
    squares += (uint64_t)layer->epsilon;
    for (int32_t bits = 16; bits > 0; bits >>= 1) {
        if (squares >> (64 - 2 * bits) == 0) {
            squares <<= 2 * bits;
            moments.half += bits;
        }
    }
    const uint32_t root = dfq_root((uint32_t)(squares >> 32));
    moments.inverse = (int32_t)((UINT32_C(0x80000000) + root / 2u) / root);
    return moments;
}

DFQ_KERNEL void dfq_standardize_s16(const dfq_standardize_s16_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t width = layer->width;
    const int32_t pitch = layer->groups * width;
    const int32_t zero_point = layer->in_zero_point;
    const int32_t count = layer->rows * width;
    for (int32_t block = 0; block < layer->outer * layer->groups; block++) {
        const int32_t group = block % layer->groups;
        const int32_t first = block / layer->groups * layer->rows * pitch + group * width;
        const dfq_moments_t moments = dfq_moments(layer, x, first);
        const int64_t rounding = INT64_C(1) << (31 - moments.half);
        for (int32_t row = 0; row < layer->rows; row++) {
            for (int32_t w = 0; w < width; w++) {
                const int32_t place = first + row * pitch + w;
                const int32_t channel = group * width + w;
                const int32_t d = count * (dfq_load(x, layer->in_wide, place) - zero_point) - moments.sum;
                const int32_t u = (int32_t)(((int64_t)d * moments.inverse + rounding) >> (32 - moments.half));
                const int32_t multiplier = layer->multipliers != NULL ? layer->multipliers[channel] : layer->multiplier;
                const int32_t bias = layer->biases != NULL ? layer->biases[channel] : layer->bias;
                const int64_t offset = (int64_t)bias * (INT64_C(1) << 18) + INT64_C(0x80000000);
                const int32_t shifted = u * (int32_t)((uint32_t)1 << layer->pre_shift);
                const int32_t value = layer->zero_point + (int32_t)(((int64_t)shifted * multiplier + offset) >> 32);
                dfq_store(out, layer->out_wide, place,
                          value < layer->lo   ? layer->lo
                          : value > layer->hi ? layer->hi
                                              : value);
            }
        }
    }
}

#endif
