/* SPDX-License-Identifier: MIT-0 */
/* Average and maximum pooling, int8, Arm DSP extension, four channels at a time; maximum of int16, two at a time.
 *
 *   x  [in_height][in_width][channels], channels a multiple of 4 (2)
 *   y  [out_height][out_width][channels]
 *
 * Windows are cut at the borders; padding is never read. A word of channels of a pixel is written before the next
 * is read, so `y` may overlap what no later window reads. The average sums int16 halves: a window has at most 256
 * elements. Equal QAveragePool and QMaxPool bit for bit.
 * Tested by tests/kernels/test_dsp.py and, on the instructions, test_dsp_qemu.py.
 */
#ifndef DFQ_POOL_S8_DSP_H
#define DFQ_POOL_S8_DSP_H

#include "../portable/dfq_pool_s8.h"
#include "dfq_dsp.h"

/* The real elements under one window. */
typedef struct {
    const int8_t *first; /* channel 0 of the first */
    int32_t rows, columns;
} dfq_dsp_patch_t;

DFQ_INLINE dfq_dsp_patch_t dfq_dsp_patch(const dfq_windows_t *win, const int8_t *x, int32_t oy, int32_t ox)
{
    const int32_t iy = oy * win->stride_y - win->pad_top;
    const int32_t ix = ox * win->stride_x - win->pad_left;
    const dfq_taps_t rows = dfq_real_taps(iy, win->in_height, win->kernel_height, win->dilation_y);
    const dfq_taps_t columns = dfq_real_taps(ix, win->in_width, win->kernel_width, win->dilation_x);
    const int32_t first_y = iy + rows.first * win->dilation_y;
    const int32_t first_x = ix + columns.first * win->dilation_x;
    const dfq_dsp_patch_t patch = {
        x + (first_y * win->in_width + first_x) * win->channels,
        rows.end - rows.first,
        columns.end - columns.first,
    };
    return patch;
}

DFQ_KERNEL void dfq_average_pool_s8_dsp(const dfq_average_pool_s8_t *layer, const int8_t *x, int8_t *y)
{
    const dfq_windows_t *win = &layer->windows;
    for (int32_t pixel = 0; pixel < win->out_height * win->out_width; pixel++) {
        const dfq_dsp_patch_t patch = dfq_dsp_patch(win, x, pixel / win->out_width, pixel % win->out_width);
        const int32_t multiplier = layer->multipliers != NULL ? layer->multipliers[pixel] : layer->multiplier;
        const int32_t offset = -layer->in_zero_point * patch.rows * patch.columns;
        DFQ_UNROLL(1)
        for (int32_t c = 0; c < win->channels; c += 4) {
            const int8_t *tap = patch.first + c;
            uint32_t even = 0, odd = 0;
            for (int32_t ky = 0; ky < patch.rows; ky++) {
                for (int32_t kx = 0; kx < patch.columns; kx++, tap += win->channels) {
                    const uint32_t word = dfq_dsp_load(tap);
                    even = dfq_dsp_add_even(even, word);
                    odd = dfq_dsp_add_odd(odd, word);
                }
                tap += (win->in_width - patch.columns) * win->channels;
            }
            const uint32_t one = 1;
            const int32_t sums[4] = { dfq_dsp_mac_bb(even, one, offset), dfq_dsp_mac_bb(odd, one, offset),
                                      dfq_dsp_mac_tb(even, one, offset), dfq_dsp_mac_tb(odd, one, offset) };
            for (int32_t i = 0; i < 4; i++) {
                const int32_t shifted = sums[i] * (int32_t)((uint32_t)1 << layer->pre_shift);
                const int32_t lo = layer->los != NULL ? layer->los[c + i] : layer->lo;
                const int32_t hi = layer->his != NULL ? layer->his[c + i] : layer->hi;
                *y++ = (int8_t)dfq_clamp(dfq_dsp_scale(shifted, multiplier, layer->out_zero_point), lo, hi);
            }
        }
    }
}

/* Words of four int8 or of two int16, as bytes are counted in `win`. */
DFQ_INLINE void dfq_dsp_max_pool(const dfq_windows_t *win, const int8_t *x, int8_t *y, bool halves)
{
    const int32_t step = win->dilation_x * win->channels;
    for (int32_t oy = 0; oy < win->out_height; oy++) {
        for (int32_t ox = 0; ox < win->out_width; ox++) {
            const dfq_dsp_patch_t patch = dfq_dsp_patch(win, x, oy, ox);
            DFQ_UNROLL(1)
            for (int32_t c = 0; c < win->channels; c += 4, y += 4) {
                uint32_t largest = halves ? (uint16_t)INT16_MIN * 65537u : dfq_dsp_lanes(INT8_MIN);
                for (int32_t ky = 0; ky < patch.rows; ky++) {
                    const int8_t *tap = patch.first + ky * win->dilation_y * win->in_width * win->channels + c;
                    for (int32_t kx = 0; kx < patch.columns; kx++, tap += step) {
                        const uint32_t word = dfq_dsp_load(tap);
                        largest = halves ? dfq_dsp_max_halves(largest, word) : dfq_dsp_max(largest, word);
                    }
                }
                dfq_dsp_store(y, largest);
            }
        }
    }
}

DFQ_KERNEL void dfq_max_pool_s8_dsp(const dfq_max_pool_s8_t *layer, const int8_t *x, int8_t *y)
{
    dfq_dsp_max_pool(&layer->windows, x, y, false);
}

/* `channels` of the descriptor are bytes of a pixel. */
DFQ_KERNEL void dfq_max_pool_s16_dsp(const dfq_max_pool_s8_t *layer, const int8_t *x, int8_t *y)
{
    dfq_dsp_max_pool(&layer->windows, x, y, true);
}

#endif
