/* SPDX-License-Identifier: MIT-0 */
/* Average and maximum pooling, int8, Helium: channels are lanes.
 *
 * Arguments are those of ../portable/dfq_pool_s8.h, and so is what `out` may overlap.
 * Equal QAveragePool and QMaxPool bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_POOL_S8_MVE_H
#define DFQ_POOL_S8_MVE_H

#include "../portable/dfq_pool_s8.h"
#include "dfq_mve.h"

#if DFQ_MVE

/* What one window reads: `rows` by `columns` pixels from x on. */
typedef struct {
    const int8_t *x;
    int32_t rows, columns;
    int32_t row_pitch, column_pitch;
} dfq_mve_window_t;

DFQ_INLINE dfq_mve_window_t dfq_mve_window(const dfq_windows_t *win, const int8_t *x, int32_t oy, int32_t ox)
{
    const int32_t iy = oy * win->stride_y - win->pad_top;
    const int32_t ix = ox * win->stride_x - win->pad_left;
    const dfq_taps_t rows = dfq_real_taps(iy, win->in_height, win->kernel_height, win->dilation_y);
    const dfq_taps_t columns = dfq_real_taps(ix, win->in_width, win->kernel_width, win->dilation_x);
    const int32_t first = (iy + rows.first * win->dilation_y) * win->in_width + ix + columns.first * win->dilation_x;
    const dfq_mve_window_t window = { x + first * win->channels, rows.end - rows.first, columns.end - columns.first,
                                      win->dilation_y * win->in_width * win->channels,
                                      win->dilation_x * win->channels };
    return window;
}

DFQ_INLINE void dfq_mve_average_window(const dfq_average_pool_s8_t *layer, const dfq_mve_window_t *window,
                                       int32_t multiplier, int8_t *out)
{
    const int32_t channels = layer->windows.channels;
    const int32_t offset = -layer->in_zero_point * window->rows * window->columns;
    DFQ_UNROLL(1)
    for (int32_t c = 0; c < channels; c += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
        int32x4_t acc = vdupq_n_s32(offset);
        const int8_t *row = window->x + c;
        for (int32_t ky = 0; ky < window->rows; ky++, row += window->row_pitch) {
            const int8_t *tap = row;
            for (int32_t kx = 0; kx < window->columns; kx++, tap += window->column_pitch) {
                acc = vaddq_s32(acc, vldrbq_z_s32(tap, lanes));
            }
        }
        acc = vrmulhq_s32(vshlq_r_s32(acc, layer->pre_shift), vdupq_n_s32(multiplier));
        acc = vaddq_n_s32(acc, layer->out_zero_point);
        acc = vmaxq_s32(acc, layer->los != NULL ? vldrbq_z_s32(layer->los + c, lanes) : vdupq_n_s32(layer->lo));
        acc = vminq_s32(acc, layer->his != NULL ? vldrbq_z_s32(layer->his + c, lanes) : vdupq_n_s32(layer->hi));
        vstrbq_p_s32(out + c, acc, lanes);
    }
}

DFQ_INLINE void dfq_mve_max_window(const dfq_windows_t *win, const dfq_mve_window_t *window, int8_t *out)
{
    DFQ_UNROLL(1)
    for (int32_t c = 0; c < win->channels; c += 16) {
        const mve_pred16_t lanes = vctp8q((uint32_t)(win->channels - c));
        int8x16_t largest = vdupq_n_s8(INT8_MIN);
        const int8_t *row = window->x + c;
        for (int32_t ky = 0; ky < window->rows; ky++, row += window->row_pitch) {
            const int8_t *tap = row;
            for (int32_t kx = 0; kx < window->columns; kx++, tap += window->column_pitch) {
                largest = vmaxq_s8(largest, vldrbq_z_s8(tap, lanes));
            }
        }
        vstrbq_p_s8(out + c, largest, lanes);
    }
}

#endif

DFQ_KERNEL void dfq_average_pool_s8_mve(const dfq_average_pool_s8_t *layer, const int8_t *x, int8_t *out)
{
#if DFQ_MVE
    const dfq_windows_t *win = &layer->windows;
    int32_t pixel = 0;
    for (int32_t oy = 0; oy < win->out_height; oy++) {
        for (int32_t ox = 0; ox < win->out_width; ox++, pixel++, out += win->channels) {
            const dfq_mve_window_t window = dfq_mve_window(win, x, oy, ox);
            const int32_t multiplier = layer->multipliers != NULL ? layer->multipliers[pixel] : layer->multiplier;
            dfq_mve_average_window(layer, &window, multiplier, out);
        }
    }
#else
    dfq_average_pool_s8(layer, x, out);
#endif
}

DFQ_KERNEL void dfq_max_pool_s8_mve(const dfq_max_pool_s8_t *layer, const int8_t *x, int8_t *out)
{
#if DFQ_MVE
    const dfq_windows_t *win = &layer->windows;
    for (int32_t oy = 0; oy < win->out_height; oy++) {
        for (int32_t ox = 0; ox < win->out_width; ox++, out += win->channels) {
            const dfq_mve_window_t window = dfq_mve_window(win, x, oy, ox);
            dfq_mve_max_window(win, &window, out);
        }
    }
#else
    dfq_max_pool_s8(layer, x, out);
#endif
}

#endif
