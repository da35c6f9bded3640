/* SPDX-License-Identifier: MIT-0 */
/* Functions of the lanes of an int8 or int16 tensor: all elements along one axis, here the middle one.
 *
 *   x    [outer][size][inner]
 *   out  the same shape, int8 or int16; dfq_arg_max_s16 [outer][inner]
 *
 * The compiler lets `out` be `x` where inner is 1 and `out` no wider than `x`.
 * Equal QArgMax, QWideSoftmax, QWideLogSoftmax and QWideLpNormalize bit for bit.
 * Tested by tests/kernels/test_portable_more.py.
 */
#ifndef DFQ_LANES_S16_H
#define DFQ_LANES_S16_H

#include "dfq_lanes_s8.h"
#include "dfq_wide_s16.h"

/* out [outer][inner] = (position of the largest element) - 128: of the smallest with `minimum`; of equal ones
 * the first, or the last with `last`. */
typedef struct {
    dfq_lanes_t lanes;
    int32_t minimum, last; /* 0 or 1 */
    int32_t in_wide, out_wide;
} dfq_arg_max_s16_t;

DFQ_KERNEL void dfq_arg_max_s16(const dfq_arg_max_s16_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_lanes_t *shape = &layer->lanes;
    const int32_t sign = layer->minimum != 0 ? -1 : 1;
    for (int32_t i = 0; i < shape->outer * shape->inner; i++) {
        const int32_t start = dfq_lane(shape, i);
        int32_t best = 0;
        int32_t best_value = sign * dfq_load(x, layer->in_wide, start);
        for (int32_t k = 1; k < shape->size; k++) {
            const int32_t value = sign * dfq_load(x, layer->in_wide, start + k * shape->inner);
            if (value > best_value || (layer->last != 0 && value == best_value)) {
                best = k;
                best_value = value;
            }
        }
        dfq_store(out, layer->out_wide, i, best - 128);
    }
}

/* The exponential of -d is coarse[d >> 8] * fine[d & 255] >> 32: each falls from its first entry. */
typedef struct {
    const DFQ_FLASH int32_t *coarse; /* [256], or [1] for int8 */
    const DFQ_FLASH int32_t *fine;   /* [256], 2^30 at 0 */
} dfq_exponentials_t;

DFQ_INLINE uint32_t dfq_exponential(const dfq_exponentials_t *tables, int32_t distance)
{
    const uint64_t coarse = (uint32_t)tables->coarse[distance >> 8];
    return (uint32_t)((coarse * (uint32_t)tables->fine[distance & 255]) >> 32);
}

DFQ_INLINE int32_t dfq_lane_maximum(const dfq_lanes_t *shape, const int8_t *x, int32_t wide, int32_t start)
{
    int32_t largest = INT16_MIN;
    for (int32_t k = 0; k < shape->size; k++) {
        largest = dfq_max(largest, dfq_load(x, wide, start + k * shape->inner));
    }
    return largest;
}

DFQ_INLINE uint32_t dfq_lane_sum(const dfq_lanes_t *shape, const dfq_exponentials_t *tables, const int8_t *x,
                                 int32_t wide, int32_t start, int32_t largest)
{
    uint32_t sum = 0;
    for (int32_t k = 0; k < shape->size; k++) {
        sum += dfq_exponential(tables, largest - dfq_load(x, wide, start + k * shape->inner));
    }
    return sum;
}

/* out = min(zero_point + ((e * share + 2^31) >> 32), hi), e the exponential of max - x
 *   share = ((levels << 17) + sum / 2) / sum, sum that of e over the lane */
typedef struct {
    dfq_lanes_t lanes;
    dfq_exponentials_t exponentials;
    int32_t levels, zero_point, hi;
    int32_t in_wide, out_wide;
} dfq_softmax_s16_t;

DFQ_KERNEL void dfq_softmax_s16(const dfq_softmax_s16_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_lanes_t *shape = &layer->lanes;
    const uint64_t one = (uint64_t)(uint32_t)layer->levels << 17;
    for (int32_t i = 0; i < shape->outer * shape->inner; i++) {
        const int32_t start = dfq_lane(shape, i);
        const int32_t largest = dfq_lane_maximum(shape, x, layer->in_wide, start);
        const uint32_t sum = dfq_lane_sum(shape, &layer->exponentials, x, layer->in_wide, start, largest);
        const uint32_t share = (uint32_t)((one + sum / 2u) / sum);
        for (int32_t k = 0; k < shape->size; k++) {
            const int32_t place = start + k * shape->inner;
            const uint64_t e = dfq_exponential(&layer->exponentials, largest - dfq_load(x, layer->in_wide, place));
            const int32_t q = (int32_t)((e * share + UINT64_C(0x80000000)) >> 32);
            dfq_store(out, layer->out_wide, place, dfq_min(layer->zero_point + q, layer->hi));
        }
    }
}

/* clamp(zero_point + (((x - max) * multiplier - log + 2^(shift - 1)) >> shift), lo, hi)
 *   sum = sum of the exponentials of max - x, k its highest bit, f the eight bits below it, g the eight below those
 *   log = logs[f] + (((logs[f + 1] - logs[f]) * g + 128) >> 8) + (k - bits) * log_two */
typedef struct {
    dfq_lanes_t lanes;
    dfq_exponentials_t exponentials;
    const DFQ_FLASH int32_t *logs; /* [257] */
    int32_t bits, multiplier, log_two, shift, zero_point, lo, hi;
    int32_t in_wide, out_wide;
} dfq_log_softmax_s16_t;

DFQ_KERNEL void dfq_log_softmax_s16(const dfq_log_softmax_s16_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_lanes_t *shape = &layer->lanes;
    const int32_t half = (int32_t)((uint32_t)1 << (layer->shift - 1));
    for (int32_t i = 0; i < shape->outer * shape->inner; i++) {
        const int32_t start = dfq_lane(shape, i);
        const int32_t largest = dfq_lane_maximum(shape, x, layer->in_wide, start);
        uint32_t sum = dfq_lane_sum(shape, &layer->exponentials, x, layer->in_wide, start, largest);
        int32_t highest = 31;
        while ((sum & 0x80000000u) == 0u) {
            sum <<= 1;
            highest--;
        }
        const DFQ_FLASH int32_t *entry = layer->logs + ((sum >> 23) & 255u);
        const int32_t line = dfq_shift_right((entry[1] - entry[0]) * (int32_t)((sum >> 15) & 255u) + 128, 8);
        const int32_t log = entry[0] + line + (highest - layer->bits) * layer->log_two;
        for (int32_t k = 0; k < shape->size; k++) {
            const int32_t place = start + k * shape->inner;
            const int32_t below = (dfq_load(x, layer->in_wide, place) - largest) * layer->multiplier;
            const int32_t q = layer->zero_point + dfq_shift_right(below - log + half, layer->shift);
            dfq_store(out, layer->out_wide, place, dfq_clamp(q, layer->lo, layer->hi));
        }
    }
}

/* floor(sqrt(value)), bit by bit; value < 2^52. */
DFQ_INLINE uint64_t dfq_square_root_52(uint64_t value)
{
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 25; bit != 0; bit >>= 1) {
        const uint64_t candidate = root + bit;
        if (candidate * candidate <= value) {
            root = candidate;
        }
    }
    return root;
}

/* sign(d) * ((2 |d| f + length) / (2 length)), clamped; d = x - zero_point.
 *   p = 1: length = sum |d|, f = one
 *   p = 2: length = floor(sqrt(sum d * d << 2 e)) and f = one << e, e such that the sum has 51 or 52 bits
 * A lane of zeros stays zero. */
typedef struct {
    dfq_lanes_t lanes;
    int32_t p, zero_point, one;
    int32_t in_wide, out_wide;
} dfq_lp_normalize_s16_t;

DFQ_KERNEL void dfq_lp_normalize_s16(const dfq_lp_normalize_s16_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_lanes_t *shape = &layer->lanes;
    for (int32_t i = 0; i < shape->outer * shape->inner; i++) {
        const int32_t start = dfq_lane(shape, i);
        uint64_t length = 0;
        for (int32_t k = 0; k < shape->size; k++) {
            const int32_t d = dfq_load(x, layer->in_wide, start + k * shape->inner) - layer->zero_point;
            const uint64_t distance = (uint64_t)(d < 0 ? -d : d);
            length += layer->p == 2 ? distance * distance : distance;
        }
        uint64_t factor = 2u * (uint64_t)(uint32_t)layer->one;
        if (layer->p == 2 && length > 0) {
            while (length < (uint64_t)1 << 50) {
                length <<= 2;
                factor <<= 1;
            }
            length = dfq_square_root_52(length);
        }
        for (int32_t k = 0; k < shape->size; k++) {
            const int32_t place = start + k * shape->inner;
            const int32_t d = dfq_load(x, layer->in_wide, place) - layer->zero_point;
            int32_t q = 0;
            if (length > 0) {
                q = (int32_t)(((uint64_t)(d < 0 ? -d : d) * factor + length) / (2u * length));
            }
            dfq_store(out, layer->out_wide, place, dfq_clamp(d < 0 ? -q : q, -layer->one, layer->one - 1));
        }
    }
}

#endif
