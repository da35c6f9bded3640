/* SPDX-License-Identifier: MIT-0 */
/* Depthwise convolution, int8, Helium.
 *
 *   x        [in_height][in_width][channels]
 *   weight   [channels][groups][kernel_width][4 rows]; group g holds kernel rows 4 g .. 4 g + 3, zeros after the last
 *            and four bytes more, which are read
 *   bias, multipliers  [channels]; los and his are there whenever pre_shift is not 0
 *   out      [out_height][out_width][channels]; may overlap the part of `x` that no later pass reads
 *
 * For 16 channels at a time, rows are interleaved into a strip of columns [column][group][16 channels][4 rows].
 * Four words of it, one from each of four columns, are a 4x4 patch of one channel in one vector, and one VMLADAV is
 * 16 taps. A 3x3 kernel at stride 1 gets four outputs from a patch, with the weights in four positions.
 *
 * Accumulators go through a line in scratch; a vector of results is one channel of eight pixels. A pass covers
 * `pass_units` units, each with a strip of its own: two output rows for 3x3 at stride 1, else one.
 * Equal QConv2D bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_DEPTHWISE_S8S8_MVE_H
#define DFQ_DEPTHWISE_S8S8_MVE_H

#include "dfq_mve_depthwise_blocks.h"

#if DFQ_MVE
DFQ_INLINE void dfq_mve_store_interleaved(int8_t *to, int8x16x4_t words)
{
    /* GCC 12 would fold the caller's step into VST43 as a register offset, which does not exist. */
    __asm__("" : "+r"(to));
    vst4q_s8(to, words);
}
#endif

/* Interleave four rows of `count` (1..16) channels into `columns` columns. Rows outside the image are padding. */
DFQ_SHARED void dfq_mve_interleave(const dfq_depthwise_s8s8_mve_t *layer, const int8_t *x, int32_t iy, int32_t columns,
                                   int32_t count, int8_t *to, int32_t to_step)
{
    const int8_t pad = (int8_t)layer->pad_value;
    const int8_t padding[16] = { pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad, pad };
    const int8_t *rows[4];
    int32_t steps[4];
    for (int32_t r = 0; r < 4; r++, iy += layer->dilation_y) {
        const bool inside = iy >= 0 && iy < layer->in_height;
        rows[r] = inside ? x + iy * layer->in_width * layer->linear.channels : padding;
        steps[r] = inside ? layer->linear.channels : 0;
    }
#if DFQ_MVE
    const int8_t *r0 = rows[0];
    const int8_t *r1 = rows[1];
    const int8_t *r2 = rows[2];
    const int8_t *r3 = rows[3];
    if (count >= 16) {
        for (int32_t i = 0; i < columns; i++) {
            const int8x16x4_t words = { { vldrbq_s8(r0), vldrbq_s8(r1), vldrbq_s8(r2), vldrbq_s8(r3) } };
            dfq_mve_store_interleaved(to, words);
            to += to_step;
            r0 += steps[0];
            r1 += steps[1];
            r2 += steps[2];
            r3 += steps[3];
        }
        return;
    }
    const mve_pred16_t lanes = vctp8q((uint32_t)count);
    for (int32_t i = 0; i < columns; i++) {
        const int8x16x4_t words = { { vldrbq_z_s8(r0, lanes), vldrbq_z_s8(r1, lanes), vldrbq_z_s8(r2, lanes),
                                      vldrbq_z_s8(r3, lanes) } };
        dfq_mve_store_interleaved(to, words);
        to += to_step;
        r0 += steps[0];
        r1 += steps[1];
        r2 += steps[2];
        r3 += steps[3];
    }
#else
    for (int32_t i = 0; i < columns; i++) {
        for (int32_t c = 0; c < count; c++) {
            for (int32_t r = 0; r < 4; r++) {
                to[i * to_step + 4 * c + r] = rows[r][i * steps[r] + c];
            }
        }
    }
#endif
}

/* A pass of `rows` output rows: where the groups of a channel go. */
DFQ_INLINE void dfq_mve_depthwise_layout(const dfq_depthwise_s8s8_mve_t *layer, dfq_mve_pass_t *pass, int32_t rows)
{
    const int32_t channels = layer->linear.channels;
    const int32_t width = 8 / pass->unit_rows;
    const int32_t unit_step = pass->unit_rows * layer->out_width * channels;
    dfq_mve_group_t *layout = pass->layout;
    int32_t at = 0;
    pass->rows = rows;
    pass->units = (rows + pass->unit_rows - 1) / pass->unit_rows;
    const bool plain = pass->units == 1 && rows == pass->unit_rows && layer->out_width % width == 0;
    pass->plain_step = plain ? width * channels : 0;
    for (int32_t unit = 0; unit < pass->units; unit++) {
        const bool whole = (unit + 1) * pass->unit_rows <= rows;
        for (int32_t g = 0; g < pass->unit_groups; g++, layout++) {
            const int32_t place = unit * unit_step + g * width * channels;
            const uint32_t columns = (uint32_t)dfq_min(width, layer->out_width - g * width);
            /* Two predicate bits a lane; a second row has the odd lanes. */
            const uint32_t lanes = (1u << (2u * columns * (uint32_t)pass->unit_rows)) - 1u;
            layout->step = place - at;
            layout->lanes = (int32_t)(whole ? lanes : lanes & 0x3333u);
            at = place;
        }
    }
}

typedef void dfq_mve_depthwise_block_t(const dfq_depthwise_s8s8_mve_t *layer, const dfq_mve_pass_t *pass, int32_t c,
                                       int32_t count, int8_t *out);

/* Passes over the image; `unit_rows` output rows make a unit, and `block` computes channels of a pass.
 * Scratch: the line, its layout, the strips. */
DFQ_SHARED void dfq_mve_depthwise_passes(const dfq_depthwise_s8s8_mve_t *layer, const int8_t *x, int8_t *out,
                                         int8_t *scratch, int32_t unit_rows, dfq_mve_depthwise_block_t *block)
{
    const int32_t channels = layer->linear.channels;
    const int32_t row_groups = (layer->kernel_height + 3) >> 2;
    const int32_t column = 64 * row_groups;
    const int32_t columns = dfq_min(layer->in_width, layer->strip_columns - layer->pad_left);
    const int32_t pass_rows = layer->pass_units * unit_rows;
    dfq_mve_pass_t pass;
    pass.unit_rows = unit_rows;
    pass.unit_groups = (layer->out_width * unit_rows + 7) >> 3;
    pass.line = (int32_t *)(void *)scratch;
    pass.layout = (dfq_mve_group_t *)(void *)(scratch + 32 * layer->pass_units * pass.unit_groups);
    pass.strip = scratch + ((40 * layer->pass_units * pass.unit_groups + 15) & ~15);
    pass.rows = 0;
    dfq_mve_fill(pass.strip, layer->pad_value, column * layer->strip_columns * layer->pass_units);
    for (int32_t oy = 0; oy < layer->out_height; oy += pass_rows) {
        const int32_t rows = dfq_min(pass_rows, layer->out_height - oy);
        if (rows != pass.rows) {
            dfq_mve_depthwise_layout(layer, &pass, rows);
        }
        for (int32_t c = 0; c < channels; c += 16) {
            const int32_t count = dfq_min(16, channels - c);
            for (int32_t unit = 0; unit < pass.units; unit++) {
                int8_t *to = pass.strip + column * (layer->strip_columns * unit + layer->pad_left);
                const int32_t iy = (oy + unit * unit_rows) * layer->stride_y - layer->pad_top;
                for (int32_t g = 0; g < row_groups; g++) {
                    dfq_mve_interleave(layer, x + c, iy + 4 * g * layer->dilation_y, columns, count, to + 64 * g,
                                       column);
                }
            }
            block(layer, &pass, c, count, out);
        }
        out += pass_rows * layer->out_width * channels;
    }
}

/* 3x3, stride 1, no dilation. */
DFQ_KERNEL void dfq_depthwise3x3_s8s8_mve(const dfq_depthwise_s8s8_mve_t *layer, const int8_t *x, int8_t *out,
                                          int8_t *scratch)
{
    dfq_mve_depthwise_passes(layer, x, out, scratch, 2, dfq_mve_depthwise_3x3_block);
}

/* Stride 2 along rows, three columns, at most four rows. */
DFQ_KERNEL void dfq_depthwise_stride2_s8s8_mve(const dfq_depthwise_s8s8_mve_t *layer, const int8_t *x, int8_t *out,
                                               int8_t *scratch)
{
    dfq_mve_depthwise_passes(layer, x, out, scratch, 1, dfq_mve_depthwise_stride_2_block);
}

/* Any kernel; pass_units is 1. */
DFQ_KERNEL void dfq_depthwise_s8s8_mve(const dfq_depthwise_s8s8_mve_t *layer, const int8_t *x, int8_t *out,
                                       int8_t *scratch)
{
    dfq_mve_depthwise_passes(layer, x, out, scratch, 1, dfq_mve_depthwise_block);
}

#endif
