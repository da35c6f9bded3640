/* SPDX-License-Identifier: MIT-0 */
/* Convolutions and fully connected layers whose weights have 2, 3, 4 or 6 bits, packed in flash.
 *
 * The rows of a few output channels are unpacked to scratch at a time (dfq_unpack.h); then the int8 loops run over
 * all pixels. Arguments are those of dfq_conv2d_s8s8.h, dfq_fully_connected_s8s8.h and dfq_depthwise_s8s8.h; scratch is
 * the unpacked rows, then theirs. `out` may overlap `x` as there if all channels are unpacked together, else it is
 * disjoint.
 * Equal QConv2D bit for bit.
 * Tested by tests/kernels/test_packed.py.
 */
#ifndef DFQ_CONVOLUTIONS_S8SN_H
#define DFQ_CONVOLUTIONS_S8SN_H

#include "dfq_common.h"
#include "dfq_conv2d_s8s8.h"
#include "dfq_depthwise_s8s8.h"
#include "dfq_fully_connected_s8s8.h"
#include "dfq_unpack.h"

/* The requantization of channels first, first + 1 ... */
DFQ_INLINE dfq_requantize_t dfq_requantize_from(const dfq_requantize_t *form, int32_t first)
{
    dfq_requantize_t from = *form;
    from.multipliers = form->multipliers != NULL ? form->multipliers + first : NULL;
    from.shifts = form->shifts != NULL ? form->shifts + first : NULL;
    from.los = form->los != NULL ? form->los + first : NULL;
    from.his = form->his != NULL ? form->his + first : NULL;
    return from;
}

/* Convolution of any geometry but depthwise; `conv.weight` is unused.
 *
 *   scratch  a chunk, then what dfq_conv2d_s8s8 needs
 *
 * With one chunk `out` may overlap `x` as in dfq_conv2d_s8s8. With several, one group only, every chunk reads all of x. */
typedef struct {
    dfq_packed_t packed;
    dfq_conv2d_s8s8_t conv;
} dfq_conv2d_s8sn_t;

/* Output channels [first, first + count) of all pixels. */
DFQ_INLINE void dfq_conv2d_channels(const dfq_conv2d_s8s8_t *conv, const DFQ_FLASH int8_t *weight, int32_t first,
                                    int32_t count, const int8_t *x, int8_t *out, int8_t *columns)
{
    const int32_t depth = conv->kernel_height * conv->kernel_width * conv->in_channels;
    const dfq_requantize_t form = dfq_requantize_from(&conv->requantize, first);
    out += first;
    for (int32_t oy = 0; oy < conv->out_height; oy++) {
        int32_t ox = 0;
        for (; ox + 2 <= conv->out_width; ox += 2, out += 2 * conv->out_channels) {
            dfq_gather_window(conv, x, oy, ox, columns);
            dfq_gather_window(conv, x, oy, ox + 1, columns + depth);
            dfq_matmul_two_columns(columns, depth, weight, conv->bias + first, &form, 0, count, out,
                                   out + conv->out_channels);
        }
        if (ox < conv->out_width) {
            dfq_gather_window(conv, x, oy, ox, columns);
            dfq_matmul_one_column(columns, depth, weight, conv->bias + first, &form, 0, count, out);
            out += conv->out_channels;
        }
    }
}

DFQ_KERNEL void dfq_conv2d_s8sn(const dfq_conv2d_s8sn_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    const dfq_packed_t *packed = &layer->packed;
    const int32_t depth =
        layer->conv.kernel_height * layer->conv.kernel_width * layer->conv.in_channels / layer->conv.groups;
    int8_t *columns = scratch + dfq_chunk_bytes(packed, depth);
    const DFQ_FLASH uint32_t *words = packed->words;
    if (packed->channels >= layer->conv.out_channels) {
        dfq_conv2d_s8s8_t conv = layer->conv;
        dfq_unpack(words, packed->bits, conv.out_channels * depth, scratch);
        conv.weight = scratch;
        dfq_conv2d_s8s8(&conv, x, out, columns);
        return;
    }
    for (int32_t first = 0; first < layer->conv.out_channels; first += packed->channels) {
        const int32_t count = dfq_min(packed->channels, layer->conv.out_channels - first);
        words = dfq_unpack(words, packed->bits, count * depth, scratch);
        dfq_conv2d_channels(&layer->conv, scratch, first, count, x, out, columns);
    }
}

/* Fully connected layer; `out` is disjoint from `x`; scratch: a chunk. */
typedef struct {
    dfq_packed_t packed;
    dfq_fully_connected_s8s8_t dense;
} dfq_fully_connected_s8sn_t;

DFQ_KERNEL void dfq_fully_connected_s8sn(const dfq_fully_connected_s8sn_t *layer, const int8_t *x, int8_t *out,
                                         int8_t *scratch)
{
    const dfq_fully_connected_s8s8_t *dense = &layer->dense;
    const DFQ_FLASH uint32_t *words = layer->packed.words;
    for (int32_t first = 0; first < dense->out_channels; first += layer->packed.channels) {
        const int32_t count = dfq_min(layer->packed.channels, dense->out_channels - first);
        const dfq_requantize_t form = dfq_requantize_from(&dense->requantize, first);
        words = dfq_unpack(words, layer->packed.bits, count * dense->in_channels, scratch);
        dfq_matmul_one_column(x, dense->in_channels, scratch, dense->bias + first, &form, 0, count, out + first);
    }
}

/* Depthwise convolution; all weights are one chunk, [kernel_height][kernel_width][channels]. Scratch: the weights,
 * then what the int8 kernel needs. `out` may overlap `x` as there. */
typedef struct {
    dfq_packed_t packed;
    dfq_depthwise_s8s8_t depthwise;
} dfq_depthwise_s8sn_t;

/* The layer with its weights unpacked to scratch; returns the scratch after them. */
DFQ_INLINE int8_t *dfq_unpack_depthwise(const dfq_depthwise_s8sn_t *layer, dfq_depthwise_s8s8_t *unpacked,
                                        int8_t *scratch)
{
    const int32_t taps = layer->depthwise.kernel_height * layer->depthwise.kernel_width;
    *unpacked = layer->depthwise;
    unpacked->weight = scratch;
    dfq_unpack(layer->packed.words, layer->packed.bits, layer->depthwise.channels * taps, scratch);
    return scratch + dfq_chunk_bytes(&layer->packed, taps);
}

DFQ_KERNEL void dfq_depthwise_padded_s8sn(const dfq_depthwise_s8sn_t *layer, const int8_t *x, int8_t *out,
                                          int8_t *scratch)
{
    dfq_depthwise_s8s8_t unpacked;
    int8_t *rows = dfq_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise_padded_s8s8(&unpacked, x, out, rows);
}

DFQ_KERNEL void dfq_depthwise_s8sn(const dfq_depthwise_s8sn_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_depthwise_s8s8_t unpacked;
    dfq_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise_s8s8(&unpacked, x, out);
}

#endif
