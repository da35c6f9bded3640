/* SPDX-License-Identifier: MIT-0 */
/* Depthwise convolution, int8: one filter for each channel.
 *
 *   x        [in_height][in_width][channels]
 *   weight   [kernel_height][kernel_width][channels]
 *   out      [out_height][out_width][channels]
 *   scratch  kernel_height * row_pixels * channels bytes, for dfq_depthwise_padded_s8s8 only
 *
 * A padded layer copies the rows under one output row to scratch, padding included, so that the loop over
 * pixels meets no border; a layer without padding reads `x` itself. `out` may overlap the part of `x` that no later
 * row reads.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_DEPTHWISE_S8S8_H
#define DFQ_DEPTHWISE_S8S8_H

#include "dfq_common.h"

typedef struct {
    const DFQ_FLASH int8_t *weight;
    const DFQ_FLASH int32_t *bias;
    dfq_requantize_t requantize;
    int32_t in_height, in_width, channels;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_left, pad_value;
    int32_t row_pixels; /* (out_width - 1) * stride_x + (kernel_width - 1) * dilation_x + 1 */
} dfq_depthwise_s8s8_t;

/* The input rows under output row `oy`, with their left and right padding. */
DFQ_INLINE void dfq_gather_rows(const dfq_depthwise_s8s8_t *layer, const int8_t *x, int32_t oy, int8_t *rows)
{
    const int32_t channels = layer->channels;
    const int32_t left = dfq_min(layer->pad_left, layer->row_pixels);
    const int32_t end = dfq_max(dfq_min(layer->pad_left + layer->in_width, layer->row_pixels), left);
    for (int32_t ky = 0; ky < layer->kernel_height; ky++, rows += layer->row_pixels * channels) {
        const int32_t iy = oy * layer->stride_y - layer->pad_top + ky * layer->dilation_y;
        if (iy < 0 || iy >= layer->in_height) {
            dfq_fill(rows, layer->pad_value, layer->row_pixels * channels);
            continue;
        }
        dfq_fill(rows, layer->pad_value, left * channels);
        dfq_copy(rows + left * channels, x + iy * layer->in_width * channels, (end - left) * channels);
        dfq_fill(rows + end * channels, layer->pad_value, (layer->row_pixels - end) * channels);
    }
}

/* Sum of one channel's window. */
DFQ_INLINE int32_t dfq_depthwise_window(const dfq_depthwise_s8s8_t *layer, int32_t acc, const int8_t *x,
                                        int32_t row_pitch, const DFQ_FLASH int8_t *w)
{
    const int32_t channels = layer->channels;
    const int32_t tap_pitch = layer->dilation_x * channels;
    for (int32_t ky = 0; ky < layer->kernel_height; ky++, x += row_pitch) {
        for (int32_t kx = 0; kx < layer->kernel_width; kx++, w += channels) {
            acc += (int32_t)x[kx * tap_pitch] * *w;
        }
    }
    return acc;
}

/* One row of three taps for two pixels `step` bytes apart. */
typedef struct {
    int32_t a0, a1;
} dfq_pair_t;

DFQ_INLINE dfq_pair_t dfq_depthwise_three_taps(dfq_pair_t acc, const int8_t *x, const DFQ_FLASH int8_t *w,
                                               int32_t channels, int32_t step)
{
    const int32_t w0 = w[0], w1 = w[channels], w2 = w[2 * channels];
    acc.a0 += x[0] * w0 + x[channels] * w1 + x[2 * channels] * w2;
    acc.a1 += x[step] * w0 + x[step + channels] * w1 + x[step + 2 * channels] * w2;
    return acc;
}

#if defined(__AVX2__)
#include "../host/dfq_avx2_depthwise.h"
#else
/* Pixels of one output row, from input rows `row_pitch` bytes apart. */
DFQ_INLINE void dfq_depthwise_row(const dfq_depthwise_s8s8_t *layer, const int8_t *x, int32_t row_pitch, int8_t *out)
{
    const int32_t channels = layer->channels;
    const int32_t step = layer->stride_x * channels;
    int32_t ox = 0;
    if (layer->kernel_height == 3 && layer->kernel_width == 3 && layer->dilation_x == 1) {
        for (; ox + 2 <= layer->out_width; ox += 2, x += 2 * step, out += 2 * channels) {
            for (int32_t c = 0; c < channels; c++) {
                dfq_pair_t acc = { layer->bias[c], layer->bias[c] };
                const DFQ_FLASH int8_t *w = layer->weight + c;
                acc = dfq_depthwise_three_taps(acc, x + c, w, channels, step);
                acc = dfq_depthwise_three_taps(acc, x + c + row_pitch, w + 3 * channels, channels, step);
                acc = dfq_depthwise_three_taps(acc, x + c + 2 * row_pitch, w + 6 * channels, channels, step);
                out[c] = dfq_requantize(&layer->requantize, acc.a0, c);
                out[channels + c] = dfq_requantize(&layer->requantize, acc.a1, c);
            }
        }
    }
    for (; ox < layer->out_width; ox++, x += step, out += channels) {
        for (int32_t c = 0; c < channels; c++) {
            const int32_t acc = dfq_depthwise_window(layer, layer->bias[c], x + c, row_pitch, layer->weight + c);
            out[c] = dfq_requantize(&layer->requantize, acc, c);
        }
    }
}
#endif

/* A layer with padding. */
DFQ_KERNEL void dfq_depthwise_padded_s8s8(const dfq_depthwise_s8s8_t *layer, const int8_t *x, int8_t *out,
                                          int8_t *scratch)
{
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        dfq_gather_rows(layer, x, oy, scratch);
        dfq_depthwise_row(layer, scratch, layer->row_pixels * layer->channels, out);
        out += layer->out_width * layer->channels;
    }
}

/* A layer without padding. */
DFQ_KERNEL void dfq_depthwise_s8s8(const dfq_depthwise_s8s8_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t row_bytes = layer->in_width * layer->channels;
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        dfq_depthwise_row(layer, x + oy * layer->stride_y * row_bytes, layer->dilation_y * row_bytes, out);
        out += layer->out_width * layer->channels;
    }
}

#endif
