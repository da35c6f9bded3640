/* SPDX-License-Identifier: MIT-0 */
/* Average and maximum pooling, int8.
 *
 *   x    [in_height][in_width][channels]
 *   out  [out_height][out_width][channels]
 *
 * Windows are cut at the borders; padding is never read. Each output is written before the next one's window
 * is read, channel by channel within a pixel, so `out` may overlap what no later window reads.
 * Equal QAveragePool and QMaxPool bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_POOL_S8_H
#define DFQ_POOL_S8_H

#include "dfq_common.h"

/* Which pixels a window covers. */
typedef struct {
    int32_t in_height, in_width, channels;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_left;
} dfq_windows_t;

typedef struct {
    int32_t first, end; /* taps with a real element, of one axis */
} dfq_taps_t;

/* Taps t in [first, end) for which 0 <= start + t * dilation < size. */
DFQ_INLINE dfq_taps_t dfq_real_taps(int32_t start, int32_t size, int32_t kernel, int32_t dilation)
{
    dfq_taps_t taps = { 0, kernel };
    while (taps.first < taps.end && start + taps.first * dilation < 0) {
        taps.first++;
    }
    while (taps.end > taps.first && start + (taps.end - 1) * dilation >= size) {
        taps.end--;
    }
    return taps;
}

typedef struct {
    dfq_windows_t windows;
    const DFQ_FLASH int32_t *multipliers; /* [out_height][out_width], or NULL: multiplier for all */
    int32_t multiplier;
    int32_t pre_shift;
    int32_t in_zero_point, out_zero_point;
    int32_t lo, hi;
    const DFQ_FLASH int8_t *los; /* [channels], or NULL: lo for all */
    const DFQ_FLASH int8_t *his;
    int32_t even_count; /* elements of every window if halves go to the even integer; 0 if they go up */
} dfq_average_pool_s8_t;

/* `mean` of `count` elements with the sum `acc`, rounded; the even neighbour if the sum is half way between two. */
DFQ_INLINE int32_t dfq_half_to_even(int32_t mean, int32_t acc, int32_t count)
{
    const int32_t rest = 2 * (acc - mean * count);
    int32_t even = mean;
    if (mean % 2 != 0 && rest == count) {
        even = mean + 1;
    } else if (mean % 2 != 0 && rest == -count) {
        even = mean - 1;
    } else {
        /* the nearest already */
    }
    return even;
}

/* clamp(out_zero_point + ((sum(x - in_zero_point) << pre_shift) * multiplier + 2^31 >> 32), lo, hi) */
DFQ_KERNEL void dfq_average_pool_s8(const dfq_average_pool_s8_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_windows_t *win = &layer->windows;
    const int32_t row_pitch = win->in_width * win->channels;
    int32_t pixel = 0;
    for (int32_t oy = 0; oy < win->out_height; oy++) {
        const int32_t iy = oy * win->stride_y - win->pad_top;
        const dfq_taps_t rows = dfq_real_taps(iy, win->in_height, win->kernel_height, 1);
        for (int32_t ox = 0; ox < win->out_width; ox++, pixel++) {
            const int32_t ix = ox * win->stride_x - win->pad_left;
            const dfq_taps_t taps = dfq_real_taps(ix, win->in_width, win->kernel_width, 1);
            const int32_t multiplier = layer->multipliers != NULL ? layer->multipliers[pixel] : layer->multiplier;
            const int32_t offset = -layer->in_zero_point * (rows.end - rows.first) * (taps.end - taps.first);
            for (int32_t c = 0; c < win->channels; c++) {
                int32_t acc = offset;
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    const int8_t *tap = x + (iy + ky) * row_pitch + (ix + taps.first) * win->channels + c;
                    for (int32_t kx = taps.first; kx < taps.end; kx++, tap += win->channels) {
                        acc += *tap;
                    }
                }
                const int32_t shifted = acc * (int32_t)((uint32_t)1 << layer->pre_shift);
                const int32_t lo = layer->los != NULL ? layer->los[c] : layer->lo;
                const int32_t hi = layer->his != NULL ? layer->his[c] : layer->hi;
                int32_t mean = dfq_multiply_round(shifted, multiplier);
                if (layer->even_count != 0) {
                    mean = dfq_half_to_even(mean, acc, layer->even_count);
                }
                *out++ = (int8_t)dfq_clamp(mean + layer->out_zero_point, lo, hi);
            }
        }
    }
}

typedef struct {
    dfq_windows_t windows;
} dfq_max_pool_s8_t;

/* On Helium GCC makes vectors of some layers and not of others, by no rule that a price could tell; there is
 * ../mve/dfq_pool_s8_mve.h for that. */
#if defined(__ARM_FEATURE_MVE)
#define DFQ_POOL_TAPS DFQ_UNROLL(1)
#else
#define DFQ_POOL_TAPS
#endif

DFQ_KERNEL void dfq_max_pool_s8(const dfq_max_pool_s8_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_windows_t *win = &layer->windows;
    const int32_t row_pitch = win->dilation_y * win->in_width * win->channels;
    const int32_t tap_pitch = win->dilation_x * win->channels;
    for (int32_t oy = 0; oy < win->out_height; oy++) {
        const int32_t iy = oy * win->stride_y - win->pad_top;
        const dfq_taps_t rows = dfq_real_taps(iy, win->in_height, win->kernel_height, win->dilation_y);
        for (int32_t ox = 0; ox < win->out_width; ox++) {
            const int32_t ix = ox * win->stride_x - win->pad_left;
            const dfq_taps_t taps = dfq_real_taps(ix, win->in_width, win->kernel_width, win->dilation_x);
            for (int32_t c = 0; c < win->channels; c++) {
                int32_t largest = INT8_MIN;
                DFQ_POOL_TAPS
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    const int32_t start = (iy * win->in_width + ix) * win->channels + ky * row_pitch + c;
                    DFQ_POOL_TAPS
                    for (int32_t kx = taps.first; kx < taps.end; kx++) {
                        largest = dfq_max(largest, x[start + kx * tap_pitch]);
                    }
                }
                *out++ = (int8_t)largest;
            }
        }
    }
}

#endif
