/* Convolutions and fully connected layers whose weights have 2, 3, 4 or 6 bits, packed in flash.
 *
 * Groups of 32 weights take one word a bit. A weight is stored as the unsigned number w + 2^(bits - 1). Words hold
 * fields of one width, little endian: field i of byte j is weight j + 4 i of those the word belongs to.
 *
 *   bits   words of a group
 *   2      two of 2-bit fields, 16 weights each
 *   3      the same for the upper two bits, then one of 1-bit fields for the lowest bit of all 32
 *   4      four of 4-bit fields, 8 weights each
 *   6      the same for the upper four bits, then two of 2-bit fields for the lower two
 *
 * So whole words of weights come out by shifts and masks, and the packed constants waste no bit but the padding of
 * the last group. The rows of `channels` output channels are unpacked to scratch at a time, each such chunk padded
 * to whole groups; then the int8 loops run over all pixels. Equal QConv2D bit for bit. Little endian only.
 */
#ifndef DFQ_PACKED_H
#define DFQ_PACKED_H

#include "dfq_common.h"
#include "dfq_conv2d.h"
#include "dfq_depthwise.h"
#include "dfq_fully_connected.h"

typedef struct {
    const uint32_t *words;
    int32_t bits;
    int32_t channels; /* of a chunk; the last one may have fewer */
} dfq_packed_t;

#define DFQ_GROUP 32 /* weights */

/* Four copies of a byte. */
DFQ_INLINE uint32_t dfq_bytes(uint32_t byte)
{
    return byte * 0x01010101u;
}

/* Four weights from their unsigned fields, one a byte: subtracts 2^(bits - 1) without a borrow between bytes. */
DFQ_INLINE uint32_t dfq_signed_bytes(uint32_t fields, int32_t bits)
{
    return (fields + dfq_bytes(0x80u - (1u << (bits - 1)))) ^ dfq_bytes(0x80u);
}

DFQ_INLINE void dfq_unpack_group(const uint32_t *words, int32_t bits, dfq_word_t *to)
{
    if (bits == 4) {
        for (int32_t i = 0; i < 4; i++) {
            to[2 * i] = dfq_signed_bytes(words[i] & dfq_bytes(15), 4);
            to[2 * i + 1] = dfq_signed_bytes(words[i] >> 4 & dfq_bytes(15), 4);
        }
    } else if (bits == 2) {
        for (int32_t i = 0; i < 8; i++) {
            to[i] = dfq_signed_bytes(words[i / 4] >> (2 * (i % 4)) & dfq_bytes(3), 2);
        }
    } else if (bits == 6) {
        for (int32_t i = 0; i < 8; i++) {
            const uint32_t upper = words[i / 2] >> (4 * (i % 2)) & dfq_bytes(15);
            const uint32_t lower = words[4 + i / 4] >> (2 * (i % 4)) & dfq_bytes(3);
            to[i] = dfq_signed_bytes(upper << 2 | lower, 6);
        }
    } else {
        for (int32_t i = 0; i < 8; i++) {
            const uint32_t upper = words[i / 4] >> (2 * (i % 4)) & dfq_bytes(3);
            const uint32_t lower = words[2] >> i & dfq_bytes(1);
            to[i] = dfq_signed_bytes(upper << 1 | lower, 3);
        }
    }
}

/* `count` weights to `to`, word aligned, with room for whole groups; returns the words after them. */
DFQ_NOINLINE const uint32_t *dfq_unpack(const uint32_t *words, int32_t bits, int32_t count, int8_t *to)
{
    dfq_word_t *out = (dfq_word_t *)(void *)to;
    for (int32_t i = 0; i < count; i += DFQ_GROUP) {
        /* Constant widths, so that no loop asks for them. */
        switch (bits) {
        case 2:
            dfq_unpack_group(words, 2, out);
            break;
        case 3:
            dfq_unpack_group(words, 3, out);
            break;
        case 4:
            dfq_unpack_group(words, 4, out);
            break;
        default:
            dfq_unpack_group(words, 6, out);
            break;
        }
        words += bits;
        out += DFQ_GROUP / 4;
    }
    return words;
}

/* Bytes that a chunk takes in scratch. */
DFQ_INLINE int32_t dfq_chunk_bytes(const dfq_packed_t *packed, int32_t depth)
{
    return (packed->channels * depth + DFQ_GROUP - 1) / DFQ_GROUP * DFQ_GROUP;
}

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
 *   scratch  a chunk, then what dfq_conv2d needs
 *
 * With one chunk `out` may overlap `x` as in dfq_conv2d. With several, one group only, every chunk reads all of x. */
typedef struct {
    dfq_packed_t packed;
    dfq_conv2d_t conv;
} dfq_packed_conv2d_t;

/* Output channels [first, first + count) of all pixels. */
DFQ_INLINE void dfq_conv2d_channels(const dfq_conv2d_t *conv, const int8_t *weight, int32_t first, int32_t count,
                                    const int8_t *x, int8_t *out, int8_t *columns)
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

DFQ_KERNEL void dfq_packed_conv2d(const dfq_packed_conv2d_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    const dfq_packed_t *packed = &layer->packed;
    const int32_t depth = layer->conv.kernel_height * layer->conv.kernel_width * layer->conv.in_channels / layer->conv.groups;
    int8_t *columns = scratch + dfq_chunk_bytes(packed, depth);
    const uint32_t *words = packed->words;
    if (packed->channels >= layer->conv.out_channels) {
        dfq_conv2d_t conv = layer->conv;
        dfq_unpack(words, packed->bits, conv.out_channels * depth, scratch);
        conv.weight = scratch;
        dfq_conv2d(&conv, x, out, columns);
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
    dfq_fully_connected_t dense;
} dfq_packed_fully_connected_t;

DFQ_KERNEL void dfq_packed_fully_connected(const dfq_packed_fully_connected_t *layer, const int8_t *x, int8_t *out,
                                           int8_t *scratch)
{
    const dfq_fully_connected_t *dense = &layer->dense;
    const uint32_t *words = layer->packed.words;
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
    dfq_depthwise_t depthwise;
} dfq_packed_depthwise_t;

/* The layer with its weights unpacked to scratch; returns the scratch after them. */
DFQ_INLINE int8_t *dfq_unpack_depthwise(const dfq_packed_depthwise_t *layer, dfq_depthwise_t *unpacked, int8_t *scratch)
{
    const int32_t taps = layer->depthwise.kernel_height * layer->depthwise.kernel_width;
    *unpacked = layer->depthwise;
    unpacked->weight = scratch;
    dfq_unpack(layer->packed.words, layer->packed.bits, layer->depthwise.channels * taps, scratch);
    return scratch + dfq_chunk_bytes(&layer->packed, taps);
}

DFQ_KERNEL void dfq_packed_depthwise_padded(const dfq_packed_depthwise_t *layer, const int8_t *x, int8_t *out,
                                            int8_t *scratch)
{
    dfq_depthwise_t unpacked;
    int8_t *rows = dfq_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise_padded(&unpacked, x, out, rows);
}

DFQ_KERNEL void dfq_packed_depthwise(const dfq_packed_depthwise_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    dfq_depthwise_t unpacked;
    dfq_unpack_depthwise(layer, &unpacked, scratch);
    dfq_depthwise(&unpacked, x, out);
}

#endif
