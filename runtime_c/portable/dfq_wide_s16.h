/* SPDX-License-Identifier: MIT-0 */
/* Layers with int16 activations: sum, pooling and padding; and what all of them share.
 *
 * Inputs and outputs are int8 or int16 each, as the descriptor's `..._wide` members say; all else is as in the
 * kernels for int8 (dfq_add_s8.h, dfq_pool_s8.h, dfq_pad_x8.h). Buffers are `int8_t *` whatever they hold,
 * 2-byte aligned where that is int16.
 * Accumulators are int32: the compiler has proved from the real weights that no sum over int16 inputs leaves it.
 * dfq_add_s16's `out` may be an input of its type, or end with a narrower one; else `out` overlaps no input.
 * Equal QAdd, QAveragePool, QMaxPool and QPad bit for bit.
 * Tested by tests/kernels/test_portable.py.
 */
#ifndef DFQ_WIDE_S16_H
#define DFQ_WIDE_S16_H

#include "dfq_common.h"
#include "dfq_pool_s8.h"

DFQ_INLINE int32_t dfq_load(const int8_t *x, int32_t wide, int32_t i)
{
    return wide ? ((const dfq_half_t *)(const void *)x)[i] : x[i];
}

DFQ_INLINE void dfq_store(int8_t *out, int32_t wide, int32_t i, int32_t value)
{
    if (wide) {
        ((dfq_half_t *)(void *)out)[i] = (dfq_half_t)value;
    } else {
        out[i] = (int8_t)value;
    }
}

typedef int32_t DFQ_MAY_ALIAS dfq_sum_t;

/* The same where `wide` may also be 2: int32. */
DFQ_INLINE void dfq_store_sum(int8_t *out, int32_t wide, int32_t i, int32_t value)
{
    if (wide == 2) {
        ((dfq_sum_t *)(void *)out)[i] = value;
    } else {
        dfq_store(out, wide, i, value);
    }
}

/* Bounds of an output of either type. A NULL table means one value for all channels, in the field below. */
typedef struct {
    const DFQ_FLASH int16_t *los;
    const DFQ_FLASH int16_t *his;
    int32_t lo;
    int32_t hi;
} dfq_wide_bounds_t;

DFQ_INLINE int32_t dfq_wide_clamp(const dfq_wide_bounds_t *bounds, int32_t value, int32_t channel)
{
    const int32_t lo = bounds->los != NULL ? bounds->los[channel] : bounds->lo;
    const int32_t hi = bounds->his != NULL ? bounds->his[channel] : bounds->hi;
    return value < lo ? lo : value > hi ? hi : value;
}

/* Clamp `pixels` pixels of `channels` values that a kernel just wrote, saturated to their type. */
DFQ_SHARED void dfq_wide_clamp_pixels(const dfq_wide_bounds_t *bounds, int8_t *y, int32_t wide, int32_t pixels,
                                      int32_t channels)
{
    for (int32_t p = 0, i = 0; p < pixels; p++) {
        for (int32_t c = 0; c < channels; c++, i++) {
            dfq_store(y, wide, i, dfq_wide_clamp(bounds, dfq_load(y, wide, i), c));
        }
    }
}

/* As dfq_requantize_t, with the bounds of int16. */
typedef struct {
    const DFQ_FLASH int32_t *multipliers;
    const DFQ_FLASH int8_t *shifts;
    const DFQ_FLASH int16_t *los;
    const DFQ_FLASH int16_t *his;
    int32_t multiplier;
    int32_t pre_shift;
    int32_t shift;
    int32_t zero_point;
    int32_t lo;
    int32_t hi;
} dfq_requantize_s16_t;

DFQ_PART int32_t dfq_requantize_s16(const dfq_requantize_s16_t *form, int32_t acc, int32_t channel)
{
    const int32_t lo = form->los != NULL ? form->los[channel] : form->lo;
    const int32_t hi = form->his != NULL ? form->his[channel] : form->hi;
    int32_t value;
    if (form->shifts != NULL) {
        value = dfq_shift_right(acc, form->shifts[channel]);
    } else if (form->shift != 0) {
        value = dfq_shift_right(acc, form->shift);
    } else {
        const int32_t multiplier = form->multipliers != NULL ? form->multipliers[channel] : form->multiplier;
        const int32_t shifted = acc * (int32_t)((uint32_t)1 << form->pre_shift);
        value = form->zero_point + dfq_multiply_round(shifted, multiplier);
    }
    return value < lo ? lo : value > hi ? hi : value;
}

/* ((a * multiplier_a >> dropped) + (b * multiplier_b >> dropped) + offset) >> shift; `dropped` is 0, or 8 or 16:
 * the products then are upper words. */
typedef struct {
    int32_t multiplier_a, multiplier_b, dropped, offset, shift;
} dfq_sum_form_t;

DFQ_INLINE int32_t dfq_add_form(const dfq_sum_form_t *form, int32_t a, int32_t b)
{
    int32_t first;
    int32_t second;
    if (form->dropped == 0) {
        first = a * form->multiplier_a;
        second = b * form->multiplier_b;
    } else {
        const int32_t lift = form->dropped == 8 ? INT32_C(0x1000000) : INT32_C(0x10000);
        first = (int32_t)(((int64_t)(a * lift) * form->multiplier_a) >> 32);
        second = (int32_t)(((int64_t)(b * lift) * form->multiplier_b) >> 32);
    }
    return dfq_shift_right(first + second + form->offset, form->shift);
}

typedef struct {
    int32_t elements, channels;
    dfq_sum_form_t form;
    dfq_wide_bounds_t bounds;
    int32_t a_wide, b_wide, out_wide;
} dfq_add_s16_t;

DFQ_KERNEL void dfq_add_s16(const dfq_add_s16_t *layer, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (int32_t i = 0, c = 0; i < layer->elements; i++) {
        const int32_t first = dfq_load(a, layer->a_wide, i);
        const int32_t value = dfq_add_form(&layer->form, first, dfq_load(b, layer->b_wide, i));
        dfq_store(out, layer->out_wide, i, dfq_wide_clamp(&layer->bounds, value, c));
        c = c + 1 < layer->channels ? c + 1 : 0;
    }
}

typedef struct {
    dfq_windows_t windows;
    const DFQ_FLASH int32_t *multipliers; /* [out_height][out_width], or NULL: multiplier for all */
    int32_t multiplier;
    int32_t pre_shift;
    int32_t in_zero_point, out_zero_point;
    dfq_wide_bounds_t bounds;
    int32_t in_wide, out_wide;
} dfq_average_pool_s16_t;

DFQ_KERNEL void dfq_average_pool_s16(const dfq_average_pool_s16_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_windows_t *win = &layer->windows;
    int32_t pixel = 0;
    for (int32_t oy = 0; oy < win->out_height; oy++) {
        const int32_t iy = oy * win->stride_y - win->pad_top;
        const dfq_taps_t rows = dfq_real_taps(iy, win->in_height, win->kernel_height, 1);
        for (int32_t ox = 0; ox < win->out_width; ox++, pixel++) {
            const int32_t ix = ox * win->stride_x - win->pad_left;
            const dfq_taps_t taps = dfq_real_taps(ix, win->in_width, win->kernel_width, 1);
            const int32_t multiplier = layer->multipliers != NULL ? layer->multipliers[pixel] : layer->multiplier;
            for (int32_t c = 0; c < win->channels; c++) {
                int32_t acc = 0;
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    for (int32_t kx = taps.first; kx < taps.end; kx++) {
                        const int32_t place = ((iy + ky) * win->in_width + ix + kx) * win->channels + c;
                        acc += dfq_load(x, layer->in_wide, place) - layer->in_zero_point;
                    }
                }
                const int32_t shifted = acc * (int32_t)((uint32_t)1 << layer->pre_shift);
                const int32_t value = layer->out_zero_point + dfq_multiply_round(shifted, multiplier);
                dfq_store(out, layer->out_wide, pixel * win->channels + c, dfq_wide_clamp(&layer->bounds, value, c));
            }
        }
    }
}

typedef struct {
    dfq_windows_t windows;
} dfq_max_pool_s16_t;

DFQ_KERNEL void dfq_max_pool_s16(const dfq_max_pool_s16_t *layer, const int8_t *x, int8_t *out)
{
    const dfq_windows_t *win = &layer->windows;
    int32_t place = 0;
    for (int32_t oy = 0; oy < win->out_height; oy++) {
        const int32_t iy = oy * win->stride_y - win->pad_top;
        const dfq_taps_t rows = dfq_real_taps(iy, win->in_height, win->kernel_height, win->dilation_y);
        for (int32_t ox = 0; ox < win->out_width; ox++) {
            const int32_t ix = ox * win->stride_x - win->pad_left;
            const dfq_taps_t taps = dfq_real_taps(ix, win->in_width, win->kernel_width, win->dilation_x);
            for (int32_t c = 0; c < win->channels; c++, place++) {
                int32_t largest = INT16_MIN;
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    const int32_t row = (iy + ky * win->dilation_y) * win->in_width + ix;
                    for (int32_t kx = taps.first; kx < taps.end; kx++) {
                        const int32_t tap = (row + kx * win->dilation_x) * win->channels + c;
                        largest = dfq_max(largest, dfq_load(x, 1, tap));
                    }
                }
                dfq_store(out, 1, place, largest);
            }
        }
    }
}

typedef struct {
    int32_t size[4], before[4], after[4];
    int32_t value;
} dfq_pad_x16_t;

/* x [size 0][1][2][3]; `before` and `after` elements of `value` around it on each axis */
DFQ_KERNEL void dfq_pad_x16(const dfq_pad_x16_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t *size = layer->size, *before = layer->before, *after = layer->after;
    int32_t place = 0;
    for (int32_t a = -before[0]; a < size[0] + after[0]; a++) {
        for (int32_t b = -before[1]; b < size[1] + after[1]; b++) {
            for (int32_t c = -before[2]; c < size[2] + after[2]; c++) {
                for (int32_t d = -before[3]; d < size[3] + after[3]; d++, place++) {
                    const int32_t inside = a >= 0 && a < size[0] && b >= 0 && b < size[1] && c >= 0 && c < size[2] &&
                                           d >= 0 && d < size[3];
                    const int32_t from = ((a * size[1] + b) * size[2] + c) * size[3] + d;
                    dfq_store(out, 1, place, inside ? dfq_load(x, 1, from) : layer->value);
                }
            }
        }
    }
}

#endif
