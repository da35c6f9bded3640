/* SPDX-License-Identifier: MIT-0 */
/* Depthwise convolution, int8, Helium: any kernel, stride, dilation and padding, a channel in each lane.
 *
 *   x        [in_height][in_width][channels]
 *   weight   [blocks of 8 channels][kernel_height][kernel_width][8], -127 or more, zeros after the last channel
 *   bias, multipliers  [blocks of 8 channels]: those of channels 0, 2, 4, 6, then of 1, 3, 5, 7
 *   out      [out_height][out_width][channels]; may overlap the part of `x` that no later pixel reads
 *
 * Products of two taps are added in 16 bits, which they fit: 2 * 128 * 127 < 2^15. For kernels that leave most lanes of dfq_depthwise_s8s8_mve.h's 4x4 patches empty.
 * Equals QConv2D bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_DEPTHWISE_LANES_S8S8_MVE_H
#define DFQ_DEPTHWISE_LANES_S8S8_MVE_H

#include "dfq_mve.h"

#define DFQ_MVE_LANES 8

typedef struct {
    dfq_mve_linear_t linear;
    int32_t in_height, in_width;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_left, pad_value;
} dfq_depthwise_lanes_s8s8_mve_t;

/* The window of an output pixel: its first tap, and which of a row's taps are left of the end of the image's row
 * (`end`), less those before its beginning (`left`). */
typedef struct {
    int32_t y, x;
    int32_t left, end;
} dfq_mve_taps_t;

#if DFQ_MVE
/* Eight channels, or as many as `lanes` has. */
DFQ_INLINE int16x8_t dfq_mve_load_lanes(const int8_t *x, bool whole, mve_pred16_t lanes)
{
    return whole ? vldrbq_s16(x) : vldrbq_z_s16(x, lanes);
}

/* Sums are those of even channels, then those of odd ones. */
DFQ_INLINE int32x4x2_t dfq_mve_add_products(int32x4x2_t sums, int16x8_t products)
{
    sums.val[0] = vaddq_s32(sums.val[0], vmovlbq_s16(products));
    sums.val[1] = vaddq_s32(sums.val[1], vmovltq_s16(products));
    return sums;
}

/* Add `count` taps, `step` bytes apart. (GCC 12 at -Os loses the test after a loop that takes two off `count`.) */
DFQ_INLINE int32x4x2_t dfq_mve_add_taps(int32x4x2_t sums, const int8_t *x, int32_t step, const int8_t *weight,
                                        int32_t count, bool whole, mve_pred16_t lanes)
{
    for (int32_t pair = count >> 1; pair > 0; pair--, x += 2 * step, weight += 2 * DFQ_MVE_LANES) {
        const int16x8_t first = vmulq_s16(dfq_mve_load_lanes(x, whole, lanes), vldrbq_s16(weight));
        const int16x8_t second =
            vmulq_s16(dfq_mve_load_lanes(x + step, whole, lanes), vldrbq_s16(weight + DFQ_MVE_LANES));
        sums = dfq_mve_add_products(sums, vaddq_s16(first, second));
    }
    if ((count & 1) != 0) {
        sums = dfq_mve_add_products(sums, vmulq_s16(dfq_mve_load_lanes(x, whole, lanes), vldrbq_s16(weight)));
    }
    return sums;
}

/* Add `count` taps in the padding. */
DFQ_INLINE int32x4x2_t dfq_mve_add_padding(int32x4x2_t sums, int32_t value, const int8_t *weight, int32_t count)
{
    for (int32_t pair = count >> 1; pair > 0; pair--, weight += 2 * DFQ_MVE_LANES) {
        const int16x8_t both = vaddq_s16(vldrbq_s16(weight), vldrbq_s16(weight + DFQ_MVE_LANES));
        sums = dfq_mve_add_products(sums, vmulq_n_s16(both, (int16_t)value));
    }
    if ((count & 1) != 0) {
        sums = dfq_mve_add_products(sums, vmulq_n_s16(vldrbq_s16(weight), (int16_t)value));
    }
    return sums;
}

/* The products of a window. */
DFQ_INLINE int32x4x2_t dfq_mve_add_window(const dfq_depthwise_lanes_s8s8_mve_t *layer, const int8_t *x,
                                          const dfq_mve_taps_t *window, const int8_t *weight, bool inside, bool whole,
                                          mve_pred16_t lanes)
{
    const int32_t channels = layer->linear.channels;
    const int32_t row = layer->in_width * channels;
    const int32_t step = layer->dilation_x * channels;
    const int32_t width = layer->kernel_width;
    int32x4x2_t sums = { { vdupq_n_s32(0), vdupq_n_s32(0) } };
    for (int32_t ky = 0; ky < layer->kernel_height; ky++, weight += width * DFQ_MVE_LANES) {
        const int32_t iy = window->y + ky * layer->dilation_y;
        const int8_t *taps = x + iy * row + window->x * channels;
        if (inside) {
            sums = dfq_mve_add_taps(sums, taps, step, weight, width, whole, lanes);
        } else if (iy < 0 || iy >= layer->in_height || window->end == window->left) {
            sums = dfq_mve_add_padding(sums, layer->pad_value, weight, width);
        } else {
            const int8_t *rest = weight + window->end * DFQ_MVE_LANES;
            sums = dfq_mve_add_padding(sums, layer->pad_value, weight, window->left);
            sums = dfq_mve_add_taps(sums, taps + window->left * step, step, weight + window->left * DFQ_MVE_LANES,
                                    window->end - window->left, whole, lanes);
            sums = dfq_mve_add_padding(sums, layer->pad_value, rest, width - window->end);
        }
    }
    return sums;
}

/* The eight channels from c, of which those in `lanes` exist. */
DFQ_INLINE void dfq_mve_lanes_block(const dfq_depthwise_lanes_s8s8_mve_t *layer, const int8_t *x,
                                    const dfq_mve_taps_t *window, int32_t c, bool inside, bool whole,
                                    mve_pred16_t lanes, int8_t *out)
{
    const dfq_mve_linear_t *linear = &layer->linear;
    const int8_t *weight = linear->weight + c * layer->kernel_height * layer->kernel_width;
    int32x4x2_t sums = dfq_mve_add_window(layer, x + c, window, weight, inside, whole, lanes);
    if (linear->pre_shift != 0) {
        sums.val[0] = vshlq_r_s32(sums.val[0], linear->pre_shift);
        sums.val[1] = vshlq_r_s32(sums.val[1], linear->pre_shift);
    }
    sums.val[0] =
        vrmulhq_s32(vaddq_s32(sums.val[0], vldrwq_s32(linear->bias + c)), vldrwq_s32(linear->multipliers + c));
    sums.val[1] =
        vrmulhq_s32(vaddq_s32(sums.val[1], vldrwq_s32(linear->bias + c + 4)), vldrwq_s32(linear->multipliers + c + 4));
    int16x8_t values = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), sums.val[0]), sums.val[1]);
    values = vqaddq_n_s16(values, (int16_t)linear->zero_point);
    if (linear->los != NULL) {
        values = vmaxq_s16(values, dfq_mve_load_lanes(linear->los + c, whole, lanes));
        values = vminq_s16(values, dfq_mve_load_lanes(linear->his + c, whole, lanes));
    } else {
        values = vreinterpretq_s16_s8(vqmovnbq_s16(vreinterpretq_s8_s16(values), values));
    }
    if (whole) {
        vstrbq_s16(out + c, values);
    } else {
        vstrbq_p_s16(out + c, values, lanes);
    }
}
#endif

/* All channels of an output pixel. */
DFQ_INLINE void dfq_mve_lanes_pixel(const dfq_depthwise_lanes_s8s8_mve_t *layer, const int8_t *x,
                                    const dfq_mve_taps_t *window, bool inside, int8_t *out)
{
    const int32_t channels = layer->linear.channels;
#if DFQ_MVE
    int32_t c = 0;
    for (; c + DFQ_MVE_LANES <= channels; c += DFQ_MVE_LANES) {
        dfq_mve_lanes_block(layer, x, window, c, inside, true, 0xFFFFu, out);
    }
    if (c < channels) {
        dfq_mve_lanes_block(layer, x, window, c, inside, false, vctp16q((uint32_t)(channels - c)), out);
    }
#else
    (void)inside;
    const int32_t taps = layer->kernel_height * layer->kernel_width;
    for (int32_t c = 0; c < channels; c++) {
        const int32_t lane = c % DFQ_MVE_LANES;
        const int8_t *weight = layer->linear.weight + (c - lane) * taps + lane;
        int32_t acc = 0;
        for (int32_t tap = 0; tap < taps; tap++) {
            const int32_t iy = window->y + tap / layer->kernel_width * layer->dilation_y;
            const int32_t kx = tap % layer->kernel_width;
            const bool there = iy >= 0 && iy < layer->in_height && kx >= window->left && kx < window->end;
            const int32_t ix = window->x + kx * layer->dilation_x;
            acc += weight[tap * DFQ_MVE_LANES] *
                   (there ? x[(iy * layer->in_width + ix) * channels + c] : layer->pad_value);
        }
        const int32_t place = c - lane + lane % 2 * 4 + lane / 2;
        out[c] = dfq_mve_requantize(&layer->linear, acc, place, c);
    }
#endif
}

/* How many taps of a row, `dilation` pixels apart, are less than `pixels` pixels after the first. */
DFQ_INLINE int32_t dfq_mve_taps_within(int32_t pixels, int32_t dilation, int32_t taps)
{
    return pixels <= 0 ? 0 : dfq_min((pixels + dilation - 1) / dilation, taps);
}

DFQ_KERNEL void dfq_depthwise_lanes_s8s8_mve(const dfq_depthwise_lanes_s8s8_mve_t *layer, const int8_t *x, int8_t *out)
{
    const int32_t last_y = layer->in_height - 1 - (layer->kernel_height - 1) * layer->dilation_y;
    for (int32_t oy = 0; oy < layer->out_height; oy++) {
        dfq_mve_taps_t window;
        window.y = oy * layer->stride_y - layer->pad_top;
        for (int32_t ox = 0; ox < layer->out_width; ox++) {
            window.x = ox * layer->stride_x - layer->pad_left;
            window.left = dfq_mve_taps_within(-window.x, layer->dilation_x, layer->kernel_width);
            window.end = dfq_max(
                window.left, dfq_mve_taps_within(layer->in_width - window.x, layer->dilation_x, layer->kernel_width));
            const bool inside_x = window.left == 0 && window.end == layer->kernel_width;
            if (inside_x && window.y >= 0 && window.y <= last_y) {
                dfq_mve_lanes_pixel(layer, x, &window, true, out);
            } else {
                dfq_mve_lanes_pixel(layer, x, &window, false, out);
            }
            out += layer->linear.channels;
        }
    }
}

#endif
