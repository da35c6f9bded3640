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

#include "dfq_conv2d_s8s8_mve.h"
#include "dfq_depthwise_s8s8_mve.h"
#include "dfq_mve_unpack.h"

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
