/* SPDX-License-Identifier: MIT-0 */
/* Functions of the lanes of an int8 tensor: all elements along one axis, here the middle one.
 *
 *   x    [outer][size][inner]
 *   out  the same shape; dfq_arg_max_s8 [outer][inner] of the positions' type
 *
 * The compiler lets `out` be `x` where inner is 1.
 * Equal QArgMax, QLogSoftmax and QLpNormalize bit for bit.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_LANES_S8_H
#define DFQ_LANES_S8_H

#include "dfq_common.h"

typedef struct {
    int32_t outer, size, inner;
} dfq_lanes_t;

/* Where lane `index` of outer * inner starts. */
DFQ_INLINE int32_t dfq_lane(const dfq_lanes_t *shape, int32_t index)
{
    return index / shape->inner * shape->size * shape->inner + index % shape->inner;
}

/* out [outer][inner] = (position of the largest element) - 128: of the smallest with `minimum`; of equal ones
 * the first, or the last with `last`. `out` may be `x`. */
typedef struct {
    dfq_lanes_t lanes;
    int32_t minimum, last; /* 0 or 1 */
} dfq_arg_max_s8_t;

DFQ_KERNEL void dfq_arg_max_s8(const dfq_arg_max_s8_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_lanes_t *shape = &layer->lanes;
    for (int32_t i = 0; i < shape->outer * shape->inner; i++) {
        const int8_t *lane = x + dfq_lane(shape, i);
        int32_t best = 0;
        int32_t best_value = layer->minimum != 0 ? -lane[0] : lane[0];
        for (int32_t k = 1; k < shape->size; k++) {
            const int32_t value = layer->minimum != 0 ? -lane[k * shape->inner] : lane[k * shape->inner];
            if (value > best_value || (layer->last != 0 && value == best_value)) {
                best = k;
                best_value = value;
            }
        }
        out[i] = (int8_t)(best - 128);
    }
}

/* clamp(zero_point + (((x - max) * multiplier - log + 2^(shift - 1)) >> shift), -128, 127)
 *   sum = sum of table[max - x], k its highest bit, f the eight bits below it
 *   log = logs[f] + (k - bits) * log_two
 * `out` may be `x` when inner is 1. */
typedef struct {
    dfq_lanes_t lanes;
    const DFQ_FLASH int32_t *table; /* [256], falls from 2^bits */
    const DFQ_FLASH int32_t *logs;  /* [256] */
    int32_t bits, multiplier, log_two, shift, zero_point;
} dfq_log_softmax_s8_t;

DFQ_KERNEL void dfq_log_softmax_s8(const dfq_log_softmax_s8_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_lanes_t *shape = &layer->lanes;
    const int32_t inner = shape->inner;
    for (int32_t i = 0; i < shape->outer * inner; i++) {
        const int32_t start = dfq_lane(shape, i);
        int32_t largest = INT8_MIN;
        for (int32_t k = 0; k < shape->size; k++) {
            largest = dfq_max(largest, x[start + k * inner]);
        }
        uint32_t sum = 0;
        for (int32_t k = 0; k < shape->size; k++) {
            sum += (uint32_t)layer->table[largest - x[start + k * inner]];
        }
        int32_t highest = 31;
        while ((sum & 0x80000000u) == 0u) {
            sum <<= 1;
            highest--;
        }
        const int32_t log = layer->logs[(sum >> 23) & 255u] + (highest - layer->bits) * layer->log_two;
        for (int32_t k = 0; k < shape->size; k++) {
            const int32_t below = (x[start + k * inner] - largest) * layer->multiplier;
            const int32_t acc = below - log + ((int32_t)1 << (layer->shift - 1));
            const int32_t q = layer->zero_point + dfq_shift_right(acc, layer->shift);
            out[start + k * inner] = (int8_t)dfq_clamp(q, -128, 127);
        }
    }
}

/* floor(sqrt(value)), bit by bit; value < 2^30. */
DFQ_INLINE int32_t dfq_square_root(int32_t value)
{
    int32_t root = 0;
    for (int32_t bit = (int32_t)1 << 14; bit != 0; bit >>= 1) {
        const int32_t candidate = root + bit;
        if (candidate * candidate <= value) {
            root = candidate;
        }
    }
    return root;
}

/* 128 * d / length rounded half up, clamped; d = x - zero_point.
 *   p = 1: length = sum |d|
 *   p = 2: length = floor(sqrt(sum d * d << 2 e)) and d << e, e such that the sum has 29 or 30 bits
 * A lane of zeros stays zero. `out` may be `x` when inner is 1. */
typedef struct {
    dfq_lanes_t lanes;
    int32_t p, zero_point;
} dfq_lp_normalize_s8_t;

DFQ_KERNEL void dfq_lp_normalize_s8(const dfq_lp_normalize_s8_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_lanes_t *shape = &layer->lanes;
    const int32_t inner = shape->inner;
    for (int32_t i = 0; i < shape->outer * inner; i++) {
        const int32_t start = dfq_lane(shape, i);
        int32_t length = 0;
        for (int32_t k = 0; k < shape->size; k++) {
            const int32_t d = x[start + k * inner] - layer->zero_point;
            length += layer->p == 2 ? d * d : d < 0 ? -d : d;
        }
        int32_t factor = 2 * 128;
        if (layer->p == 2 && length > 0) {
            while (length < (int32_t)1 << 28) {
                length <<= 2;
                factor <<= 1;
            }
            length = dfq_square_root(length);
        }
        for (int32_t k = 0; k < shape->size; k++) {
            int32_t q = 0;
            if (length > 0) {
                /* 129 is added before and taken off after the division, which then has no sign. */
                const int32_t d = x[start + k * inner] - layer->zero_point;
                const uint32_t numerator = (uint32_t)(d * factor + length + 2 * 129 * length);
                q = (int32_t)(numerator / (2u * (uint32_t)length)) - 129;
            }
            out[start + k * inner] = (int8_t)dfq_clamp(q, -128, 127);
        }
    }
}

#endif
