/* SPDX-License-Identifier: MIT-0 */
/* Convolutions and fully connected layers whose weights have 2, 3, 4 or 6 bits, Helium.
 *
 * A chunk of output channels (a multiple of 16) is unpacked to scratch by vectors, a few instructions for 16
 * weights, then the int8 kernel runs over all pixels. Arguments are those of dfq_conv2d_s8s8_mve.h and
 * dfq_depthwise_s8s8_mve.h; scratch is the chunk, then theirs. `out` may overlap `x` as there if all channels are one
 * chunk, else it is disjoint.
 * Equal QConv2D bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_CONVOLUTIONS_S8SN_MVE_H
#define DFQ_CONVOLUTIONS_S8SN_MVE_H

#include "../portable/dfq_unpack.h"
#include "dfq_conv2d_s8s8_mve.h"
#include "dfq_depthwise_s8s8_mve.h"

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

/* Bytes of `channels` channels in dfq_mve_gemm.h's order. */
DFQ_INLINE int32_t dfq_mve_tile_bytes(const dfq_mve_linear_t *linear, int32_t channels)
{
    return (channels + 3) / 4 * ((linear->depth + 15) / 16) * 64;
}

/* Channels `first` and on, as many as a chunk has; their weights will be at `weight`. */
DFQ_INLINE dfq_mve_linear_t dfq_mve_chunk(const dfq_mve_linear_t *linear, int32_t first, int32_t channels,
                                          const int8_t *weight)
{
    dfq_mve_linear_t chunk = *linear;
    chunk.weight = weight;
    chunk.bias = linear->bias + first;
    chunk.multipliers = linear->multipliers + first;
    chunk.los = linear->los != NULL ? linear->los + first : NULL;
    chunk.his = linear->his != NULL ? linear->his + first : NULL;
    chunk.channels = dfq_min(channels, linear->channels - first);
    return chunk;
}

/* Scratch: a chunk, then that of the int8 kernel. With one chunk `out` may overlap `x` as there. */
typedef struct {
    dfq_packed_t packed;
    dfq_pointwise_s8s8_mve_t conv;
} dfq_pointwise_s8sn_mve_t;

DFQ_KERNEL void dfq_pointwise_s8sn_2x4_mve(const dfq_pointwise_s8sn_mve_t *layer, const int8_t *x, int8_t *out,
                                           int8_t *scratch)
{
    const dfq_mve_linear_t *linear = &layer->conv.linear;
    const uint8_t *from = (const uint8_t *)layer->packed.words;
    dfq_pointwise_s8s8_mve_t conv = layer->conv;
    for (int32_t first = 0; first < linear->channels; first += layer->packed.channels) {
        conv.linear = dfq_mve_chunk(linear, first, layer->packed.channels, scratch);
        from = dfq_mve_unpack(from, layer->packed.bits, dfq_mve_tile_bytes(linear, conv.linear.channels), scratch);
        dfq_pointwise_s8s8_2x4_mve(&conv, x, out + first);
    }
}

typedef struct {
    dfq_packed_t packed;
    dfq_conv2d_s8s8_mve_t conv;
} dfq_conv2d_s8sn_mve_t;

DFQ_KERNEL void dfq_conv2d_s8sn_2x4_mve(const dfq_conv2d_s8sn_mve_t *layer, const int8_t *x, int8_t *out,
                                        int8_t *scratch)
{
    const dfq_mve_linear_t *linear = &layer->conv.linear;
    const uint8_t *from = (const uint8_t *)layer->packed.words;
    int8_t *strip = scratch + dfq_mve_unpacked_bytes(dfq_mve_tile_bytes(linear, layer->packed.channels));
    dfq_conv2d_s8s8_mve_t conv = layer->conv;
    for (int32_t first = 0; first < linear->channels; first += layer->packed.channels) {
        conv.linear = dfq_mve_chunk(linear, first, layer->packed.channels, scratch);
        from = dfq_mve_unpack(from, layer->packed.bits, dfq_mve_tile_bytes(linear, conv.linear.channels), scratch);
        dfq_conv2d_s8s8_2x4_mve(&conv, x, out + first, strip);
    }
}

/* Depthwise: all weights at once, in flash without the rows that pad the kernel's groups of four. Scratch: weights as
 * dfq_depthwise_s8s8_mve.h wants them, then what comes out of the packed ones, later that of the int8 kernel. */
typedef struct {
    dfq_packed_t packed;
    dfq_depthwise_s8s8_mve_t depthwise;
} dfq_depthwise_s8sn_mve_t;

/* The layer with its weights in scratch; gives the scratch after them. */
DFQ_NOINLINE int8_t *dfq_mve_unpack_depthwise(const dfq_depthwise_s8sn_mve_t *layer, dfq_depthwise_s8s8_mve_t *unpacked,
                                              int8_t *scratch)
{
    const int32_t channels = layer->depthwise.linear.channels;
    const int32_t height = layer->depthwise.kernel_height;
    const int32_t width = layer->depthwise.kernel_width;
    const int32_t bytes = channels * ((height + 3) / 4 * 4) * width + 4;
    int8_t *const after = scratch + (bytes + 15) / 16 * 16;
    const int8_t *from = after;
    int8_t *to = scratch;
    dfq_mve_unpack((const uint8_t *)layer->packed.words, layer->packed.bits, channels * height * width, after);
    for (int32_t c = 0; c < channels; c++) {
        for (int32_t ky = 0; ky < height; ky += 4) {
            const int32_t rows = dfq_min(4, height - ky);
            for (int32_t kx = 0; kx < width; kx++, to += 4, from += rows) {
                to[0] = from[0];
                to[1] = (int8_t)(rows > 1 ? from[1] : 0);
                to[2] = (int8_t)(rows > 2 ? from[2] : 0);
                to[3] = (int8_t)(rows > 3 ? from[3] : 0);
            }
        }
    }
    to[0] = to[1] = to[2] = to[3] = 0;
    *unpacked = layer->depthwise;
    unpacked->linear.weight = scratch;
    return after;
}

DFQ_KERNEL void dfq_depthwise_s8sn_mve(const dfq_depthwise_s8sn_mve_t *layer, const int8_t *x, int8_t *out,
                                       int8_t *scratch)
{
    dfq_depthwise_s8s8_mve_t unpacked;
    int8_t *const rest = dfq_mve_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise_s8s8_mve(&unpacked, x, out, rest);
}

DFQ_KERNEL void dfq_depthwise_stride2_s8sn_mve(const dfq_depthwise_s8sn_mve_t *layer, const int8_t *x, int8_t *out,
                                               int8_t *scratch)
{
    dfq_depthwise_s8s8_mve_t unpacked;
    int8_t *const rest = dfq_mve_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise_stride2_s8s8_mve(&unpacked, x, out, rest);
}

DFQ_KERNEL void dfq_depthwise3x3_s8sn_mve(const dfq_depthwise_s8sn_mve_t *layer, const int8_t *x, int8_t *out,
                                          int8_t *scratch)
{
    dfq_depthwise_s8s8_mve_t unpacked;
    int8_t *const rest = dfq_mve_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise3x3_s8s8_mve(&unpacked, x, out, rest);
}

#endif
