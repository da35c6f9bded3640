/* SPDX-License-Identifier: MIT-0 */
/* 2-D convolutions and fully connected layers with 4-bit and 2-bit weights, Arm DSP extension.
 *
 * As dfq_conv2d_s8s8_dsp.h and dfq_fully_connected_s8s8_dsp.h, and with their descriptors, but `matmul.stream` is packed for
 * dfq_dsp_matmul_4bit.h or dfq_dsp_matmul_2bit.h; at 2 bits `depth` is a multiple of 8. Scratch: 16 bytes more;
 * fully connected: 16 + 2 * depth. `y` may overlap `x` as in dfq_conv2d_s8s8_dsp.h; fully connected, it may be `x`.
 * Equal QConv2D bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_CONV2D_S8SN_DSP_H
#define DFQ_CONV2D_S8SN_DSP_H

#include "dfq_conv2d_s8s8_dsp.h"
#include "dfq_fully_connected_s8s8_dsp.h"
#include "dfq_dsp_matmul_2bit.h"
#include "dfq_dsp_matmul_4bit.h"

DFQ_INLINE void dfq_dsp_low_clamp(const dfq_conv2d_s8s8_dsp_t *layer, int8_t *y0, int8_t *y1)
{
    dfq_dsp_clamp(&layer->bounds, y0, 1, layer->matmul.out_channels);
    if (y1 != y0) {
        dfq_dsp_clamp(&layer->bounds, y1, 1, layer->matmul.out_channels);
    }
}

DFQ_INLINE void dfq_dsp_multiply_4(const dfq_conv2d_s8s8_dsp_t *layer, dfq_word_t *columns,
                                   const dfq_dsp_matmul_args_t *args, int8_t *y0, int8_t *y1)
{
    dfq_dsp_split_4(columns, layer->matmul.depth, 2);
    dfq_dsp_matmul_2x4_4(columns, args, y0, y1);
    dfq_dsp_low_clamp(layer, y0, y1);
}

DFQ_INLINE void dfq_dsp_multiply_2(const dfq_conv2d_s8s8_dsp_t *layer, dfq_word_t *columns,
                                   const dfq_dsp_matmul_args_t *args, int8_t *y0, int8_t *y1)
{
    dfq_dsp_split_2(columns, layer->matmul.depth, 2);
    dfq_dsp_matmul_2x4_2(columns, args, y0, y1);
    dfq_dsp_low_clamp(layer, y0, y1);
}

/* Columns after their header, all zero: depth may exceed what is gathered. */
DFQ_INLINE dfq_word_t *dfq_dsp_low_columns(int8_t *scratch, int32_t bytes)
{
    for (int32_t i = 0; i < bytes; i += 4) {
        dfq_dsp_store(scratch + 4 * DFQ_DSP_HEADER + i, 0);
    }
    return (dfq_word_t *)(void *)scratch + DFQ_DSP_HEADER;
}

DFQ_KERNEL void dfq_conv2d_s8s4_2x4_dsp(const dfq_conv2d_s8s8_dsp_t *layer, const int8_t *x, int8_t *y, int8_t *scratch)
{
    dfq_word_t *columns = dfq_dsp_low_columns(scratch, layer->matmul.depth * (layer->in_channels % 4 != 0 ? 6 : 4));
    const dfq_dsp_matmul_args_t args = dfq_dsp_low_args(&layer->matmul, columns, 4, 2);
    dfq_dsp_conv2d_with(dfq_dsp_multiply_4, layer, x, y, columns, &args);
}

DFQ_KERNEL void dfq_conv2d_s8s2_2x4_dsp(const dfq_conv2d_s8s8_dsp_t *layer, const int8_t *x, int8_t *y, int8_t *scratch)
{
    dfq_word_t *columns = dfq_dsp_low_columns(scratch, layer->matmul.depth * (layer->in_channels % 4 != 0 ? 6 : 4));
    const dfq_dsp_matmul_args_t args = dfq_dsp_low_args(&layer->matmul, columns, 2, 2);
    dfq_dsp_conv2d_with(dfq_dsp_multiply_2, layer, x, y, columns, &args);
}

/* One pixel widened to columns. */
DFQ_INLINE dfq_word_t *dfq_dsp_low_pixel(const dfq_fully_connected_s8s8_dsp_t *layer, const int8_t *x, int8_t *scratch)
{
    dfq_word_t *columns = dfq_dsp_low_columns(scratch, 2 * layer->matmul.depth);
    dfq_word_t *to = columns;
    for (int32_t i = 0; i < layer->in_channels; i += 4, to += 2) {
        const uint32_t word = dfq_dsp_load_lanes(x + i, layer->in_channels - i);
        to[0] = dfq_dsp_widen_even(word);
        to[1] = dfq_dsp_widen_odd(word);
    }
    return columns;
}

DFQ_KERNEL void dfq_fully_connected_s8s4_1x4_dsp(const dfq_fully_connected_s8s8_dsp_t *layer, const int8_t *x,
                                                 int8_t *y, int8_t *scratch)
{
    dfq_word_t *columns = dfq_dsp_low_pixel(layer, x, scratch);
    const dfq_dsp_matmul_args_t args = dfq_dsp_low_args(&layer->matmul, columns, 4, 1);
    dfq_dsp_split_4(columns, layer->matmul.depth, 1);
    dfq_dsp_matmul_1x4_4(columns, &args, y);
    dfq_dsp_clamp(&layer->bounds, y, 1, layer->matmul.out_channels);
}

DFQ_KERNEL void dfq_fully_connected_s8s2_1x4_dsp(const dfq_fully_connected_s8s8_dsp_t *layer, const int8_t *x,
                                                 int8_t *y, int8_t *scratch)
{
    dfq_word_t *columns = dfq_dsp_low_pixel(layer, x, scratch);
    const dfq_dsp_matmul_args_t args = dfq_dsp_low_args(&layer->matmul, columns, 2, 1);
    dfq_dsp_split_2(columns, layer->matmul.depth, 1);
    dfq_dsp_matmul_1x4_2(columns, &args, y);
    dfq_dsp_clamp(&layer->bounds, y, 1, layer->matmul.out_channels);
}

#endif
