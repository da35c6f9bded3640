/* SPDX-License-Identifier: MIT-0 */
/* Convolutions without groups, depthwise convolutions and fully connected layers with int16 activations, Helium:
 * inputs and outputs int8 or int16 each, weights of 2 to 8 bits.
 *
 *   x        [in_height][in_width][in_channels], 2-byte aligned where int16
 *   weight   dfq_conv2d_s16sn_mve: [tile][step][4 channels][8 depths], zeros beyond depth and beyond the channels;
 *            dfq_depthwise_s16sn_mve: [kernel_height][kernel_width][channels]; bytes, or fewer bits in chunks of output
 *            channels (dfq_unpack.h)
 *   bias, multipliers  [channels], zeros up to a whole tile
 *   out      [out_height][out_width][out_channels], disjoint from x
 *   scratch  two windows of int16, whole steps, if `gathered`; depthwise the rows under an output row; then a chunk of
 *            bytes and 16 more, where weights have fewer bits than eight
 *
 * The unit of work is two pixels by one tile of four channels: VMLADAVA.S16 adds eight products, VLDRB.S16 widens
 * weights as it loads them. Sums wrap modulo 2^32: the compiler has proved that whole ones fit.
 * Equal QConv2D bit for bit.
 * Tested by tests/kernels/test_mve.py and, on the instructions, test_mve_qemu.py.
 */
#ifndef DFQ_CONV2D_S16SN_MVE_H
#define DFQ_CONV2D_S16SN_MVE_H

#include "../portable/dfq_conv2d_s16sn.h"
#include "dfq_mve_gemm.h"

typedef struct {
    dfq_conv2d_s16sn_t conv; /* requantize aside */
    const int32_t *multipliers;
    int32_t depth;    /* of a window */
    int32_t gathered; /* 0: x itself has the windows one after the other, whole steps each */
} dfq_conv2d_s16sn_mve_t;

#define DFQ_MVE_WIDE_CHANNELS 64 /* whose sums wait on the stack together */

/* Four sums to outputs at `place` on, of channels c on; those below `count`. */
DFQ_INLINE void dfq_mve_finish_s16(const dfq_conv2d_s16sn_mve_t *layer, const int32_t *acc, int32_t c, int32_t count,
                                   int32_t place, int8_t *out)
{
    const dfq_requantize_s16_t *form = &layer->conv.requantize;
#if DFQ_MVE
    const mve_pred16_t lanes = vctp32q((uint32_t)count);
    int32x4_t value = vaddq_s32(vldrwq_s32(acc), vldrwq_s32(layer->conv.bias + c));
    value = vshlq_r_s32(value, form->pre_shift);
    value = vaddq_n_s32(vrmulhq_s32(value, vldrwq_s32(layer->multipliers + c)), form->zero_point);
    const int32x4_t lo = form->los != NULL ? vldrhq_z_s32(form->los + c, lanes) : vdupq_n_s32(form->lo);
    const int32x4_t hi = form->his != NULL ? vldrhq_z_s32(form->his + c, lanes) : vdupq_n_s32(form->hi);
    value = vminq_s32(vmaxq_s32(value, lo), hi);
    if (layer->conv.out_wide) {
        vstrhq_p_s32((int16_t *)(void *)(out + 2 * place), value, lanes);
    } else {
        vstrbq_p_s32(out + place, value, lanes);
    }
#else
    for (int32_t i = 0; i < count && i < 4; i++) {
        const int32_t sum = (acc[i] + layer->conv.bias[c + i]) * (int32_t)((uint32_t)1 << form->pre_shift);
        const int32_t value = form->zero_point + dfq_multiply_round(sum, layer->multipliers[c + i]);
        const int32_t lo = form->los != NULL ? form->los[c + i] : form->lo;
        const int32_t hi = form->his != NULL ? form->his[c + i] : form->hi;
        dfq_store(out, layer->conv.out_wide, place + i, dfq_clamp(value, lo, hi));
    }
#endif
}

/* Sums of up to DFQ_MVE_WIDE_CHANNELS channels: what the assembly reads, in this order. */
typedef struct {
    const dfq_half_t *x0, *x1;
    const int8_t *w;
    int32_t tiles;
    int32_t rounds;
    void (*dot)(void);
    int32_t *acc; /* [tile][pixel][4] */
} dfq_mve_wide_job_t;

#if DFQ_MVE

/* clang-format off */
#define DFQ_MVE_WIDE_MAC(a, acc0, acc1, w)      \
    "vldrb.s16 " w ", [r5], #8\n\t"             \
    "vmladav" a ".s16 " acc0 ", q0, " w "\n\t"  \
    "vmladav" a ".s16 " acc1 ", q1, " w "\n\t"
#define DFQ_MVE_WIDE_STEP(a)                \
    "vldrh.16 q0, [r1], #16\n\t"            \
    "vldrh.16 q1, [r3], #16\n\t"            \
    DFQ_MVE_WIDE_MAC(a, "r0", "r8", "q2")   \
    DFQ_MVE_WIDE_MAC(a, "r2", "r10", "q3")  \
    DFQ_MVE_WIDE_MAC(a, "r4", "r12", "q2")  \
    DFQ_MVE_WIDE_MAC(a, "r6", "lr", "q3")
#define DFQ_MVE_WIDE_HEAD_1 DFQ_MVE_WIDE_STEP("")
#define DFQ_MVE_WIDE_HEAD_2 DFQ_MVE_WIDE_HEAD_1 DFQ_MVE_WIDE_STEP("a")
#define DFQ_MVE_WIDE_HEAD_3 DFQ_MVE_WIDE_HEAD_2 DFQ_MVE_WIDE_STEP("a")
#define DFQ_MVE_WIDE_HEAD_4 DFQ_MVE_WIDE_HEAD_3 DFQ_MVE_WIDE_STEP("a")
#define DFQ_MVE_WIDE_ROUND DFQ_MVE_WIDE_STEP("a") DFQ_MVE_WIDE_STEP("a") DFQ_MVE_WIDE_STEP("a") DFQ_MVE_WIDE_STEP("a")
#define DFQ_MVE_WIDE_WHOLE(head)           \
    "vmov d14, r1, r3\n\t"                 \
    "1:\n\t" head DFQ_MVE_STORE_PAIR       \
    "vmov r1, r3, d14\n\t" DFQ_MVE_NEXT_TILE
/* clang-format on */

DFQ_MVE_DOT(dfq_mve_wide_whole_1, DFQ_MVE_WIDE_WHOLE(DFQ_MVE_WIDE_HEAD_1))
DFQ_MVE_DOT(dfq_mve_wide_whole_2, DFQ_MVE_WIDE_WHOLE(DFQ_MVE_WIDE_HEAD_2))
DFQ_MVE_DOT(dfq_mve_wide_whole_3, DFQ_MVE_WIDE_WHOLE(DFQ_MVE_WIDE_HEAD_3))
DFQ_MVE_DOT(dfq_mve_wide_whole_4, DFQ_MVE_WIDE_WHOLE(DFQ_MVE_WIDE_HEAD_4))
DFQ_MVE_DOT(dfq_mve_wide_head_1, DFQ_MVE_LOOP(DFQ_MVE_WIDE_HEAD_1, DFQ_MVE_WIDE_ROUND))
DFQ_MVE_DOT(dfq_mve_wide_head_2, DFQ_MVE_LOOP(DFQ_MVE_WIDE_HEAD_2, DFQ_MVE_WIDE_ROUND))
DFQ_MVE_DOT(dfq_mve_wide_head_3, DFQ_MVE_LOOP(DFQ_MVE_WIDE_HEAD_3, DFQ_MVE_WIDE_ROUND))
DFQ_MVE_DOT(dfq_mve_wide_head_4, DFQ_MVE_LOOP(DFQ_MVE_WIDE_HEAD_4, DFQ_MVE_WIDE_ROUND))

DFQ_MVE_NAKED void dfq_mve_wide_run(DFQ_UNUSED const dfq_mve_wide_job_t *job)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "vpush {d14-d15}\n\t"
                     "ldrd r1, r3, [r0]\n\t"
                     "ldrd r5, r9, [r0, #8]\n\t"
                     "ldrd r11, r2, [r0, #16]\n\t"
                     "ldr r7, [r0, #24]\n\t"
                     "blx r2\n\t"
                     "vpop {d14-d15}\n\t"
                     "pop {r4-r11, pc}");
}

/* clang-format off */
/* One pixel: four accumulators; `rounds` is steps - 1. */
#define DFQ_MVE_WIDE_MAC_1(a, acc, w) "vldrb.s16 " w ", [r5], #8\n\tvmladav" a ".s16 " acc ", q0, " w "\n\t"
#define DFQ_MVE_WIDE_STEP_1(a)                                                                      \
    "vldrh.16 q0, [r1], #16\n\t" DFQ_MVE_WIDE_MAC_1(a, "r4", "q1") DFQ_MVE_WIDE_MAC_1(a, "r6", "q2") \
    DFQ_MVE_WIDE_MAC_1(a, "r8", "q1") DFQ_MVE_WIDE_MAC_1(a, "r10", "q2")
DFQ_MVE_NAKED void dfq_mve_wide_run_pixel(DFQ_UNUSED const dfq_mve_wide_job_t *job)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "ldr r2, [r0]\n\t"
                     "ldrd r5, r9, [r0, #8]\n\t"
                     "ldr r11, [r0, #16]\n\t"
                     "ldr r7, [r0, #24]\n\t"
                     "1:\n\t"
                     "mov r1, r2\n\t" DFQ_MVE_WIDE_STEP_1("")
                     "wls lr, r11, 3f\n\t"
                     "2:\n\t" DFQ_MVE_WIDE_STEP_1("a")
                     "le lr, 2b\n\t"
                     "3:\n\t"
                     "stmia r7!, {r4, r6, r8, r10}\n\t"
                     "add r7, r7, #16\n\t"
                     "subs r9, #1\n\t"
                     "bne 1b\n\t"
                     "pop {r4-r11, pc}");
}
/* clang-format on */

DFQ_INLINE void dfq_mve_wide_sums(dfq_mve_wide_job_t *job, int32_t steps, int32_t pixels)
{
    static void (*const whole[4])(void) = { dfq_mve_wide_whole_1, dfq_mve_wide_whole_2, dfq_mve_wide_whole_3,
                                            dfq_mve_wide_whole_4 };
    static void (*const looped[4])(void) = { dfq_mve_wide_head_1, dfq_mve_wide_head_2, dfq_mve_wide_head_3,
                                             dfq_mve_wide_head_4 };
    if (pixels == 2) {
        job->rounds = (steps - 1) >> 2;
        job->dot = steps <= 4 ? whole[steps - 1] : looped[(steps - 1) & 3];
        dfq_mve_wide_run(job);
    } else {
        job->rounds = steps - 1;
        dfq_mve_wide_run_pixel(job);
    }
}

#else

DFQ_INLINE void dfq_mve_wide_sums(const dfq_mve_wide_job_t *job, int32_t steps, int32_t pixels)
{
    for (int32_t p = 0; p < pixels; p++) {
        const dfq_half_t *x = p == 0 ? job->x0 : job->x1;
        for (int32_t c = 0; c < 4 * job->tiles; c++) {
            const int8_t *w = job->w + c / 4 * steps * 32 + c % 4 * 8;
            uint32_t acc = 0;
            for (int32_t k = 0; k < 8 * steps; k++) {
                acc += (uint32_t)(x[k] * w[k / 8 * 32 + k % 8]);
            }
            job->acc[c / 4 * 8 + 4 * p + c % 4] = (int32_t)acc;
        }
    }
}

#endif

/* Channels first .. first + count of one or two pixels, whose weights start at `weight`. */
DFQ_INLINE void dfq_mve_wide_pixels(const dfq_conv2d_s16sn_mve_t *layer, const dfq_half_t *x0, const dfq_half_t *x1,
                                    int32_t pixels, const int8_t *weight, int32_t first, int32_t count, int32_t place,
                                    int8_t *out)
{
    const int32_t steps = (layer->depth + 7) / 8;
    int32_t acc[2 * DFQ_MVE_WIDE_CHANNELS];
    dfq_mve_wide_job_t job = { .x0 = x0, .x1 = x1, .w = weight, .acc = acc };
    for (int32_t done = 0; done < count; done += DFQ_MVE_WIDE_CHANNELS) {
        const int32_t now = dfq_min(count - done, DFQ_MVE_WIDE_CHANNELS);
        job.tiles = (now + 3) / 4;
        dfq_mve_wide_sums(&job, steps, pixels);
        job.w += job.tiles * steps * 32;
        for (int32_t c = 0; c < now; c += 4) {
            const int32_t channel = first + done + c;
            dfq_mve_finish_s16(layer, acc + 2 * c, channel, now - c, place + channel, out);
            if (pixels == 2) {
                dfq_mve_finish_s16(layer, acc + 2 * c + 4, channel, now - c, place + layer->conv.out_channels + channel,
                                   out);
            }
        }
    }
}

/* One window as int16, contiguous, whole steps: what lies beyond `depth` meets zero weights. */
DFQ_INLINE void dfq_mve_wide_gather(const dfq_conv2d_s16sn_mve_t *layer, const int8_t *x, int32_t oy, int32_t ox,
                                    dfq_half_t *column)
{
    dfq_gather_window_s16(&layer->conv, x, oy, ox, 0, layer->conv.in_channels, column);
    for (int32_t i = layer->depth; i % 8 != 0; i++) {
        column[i] = 0;
    }
}

DFQ_INLINE void dfq_mve_wide_chunk(const dfq_conv2d_s16sn_mve_t *layer, const int8_t *weight, int32_t first,
                                   int32_t count, const int8_t *x, int8_t *out, dfq_half_t *columns)
{
    const dfq_conv2d_s16sn_t *conv = &layer->conv;
    const int32_t pitch = (layer->depth + 7) / 8 * 8;
    const int32_t total = conv->out_height * conv->out_width;
    int32_t oy = 0, ox = 0;
    for (int32_t pixel = 0; pixel < total; pixel += 2) {
        const int32_t pixels = dfq_min(2, total - pixel);
        const dfq_half_t *x0 = columns, *x1 = columns + pitch;
        if (layer->gathered) {
            for (int32_t p = 0; p < pixels; p++) {
                dfq_mve_wide_gather(layer, x, oy, ox, columns + p * pitch);
                ox++;
                if (ox == conv->out_width) {
                    ox = 0;
                    oy++;
                }
            }
        } else {
            x0 = (const dfq_half_t *)(const void *)x + pixel * pitch;
            x1 = x0 + pitch;
        }
        dfq_mve_wide_pixels(layer, x0, x1, pixels, weight, first, count, pixel * conv->out_channels, out);
    }
}

DFQ_KERNEL void dfq_conv2d_s16sn_mve(const dfq_conv2d_s16sn_mve_t *layer, const int8_t *x, int8_t *out, int8_t *scratch)
{
    const dfq_conv2d_s16sn_t *conv = &layer->conv;
    const int32_t pitch = (layer->depth + 7) / 8 * 8;
    dfq_half_t *columns = (dfq_half_t *)(void *)scratch;
    if (conv->bytes != NULL) {
        dfq_mve_wide_chunk(layer, conv->bytes, 0, conv->out_channels, x, out, columns);
        return;
    }
    int8_t *bytes = scratch + 4 * pitch;
    const uint32_t *words = conv->packed.words;
    for (int32_t first = 0; first < conv->out_channels; first += conv->packed.channels) {
        const int32_t count = dfq_min(conv->packed.channels, conv->out_channels - first);
        words = dfq_unpack(words, conv->packed.bits, (count + 3) / 4 * 4 * pitch, bytes);
        dfq_mve_wide_chunk(layer, bytes, first, count, x, out, columns);
    }
}

#if DFQ_MVE

/* Outputs of one row, four channels from c on; `whole`: that many there are. */
DFQ_INLINE void dfq_mve_depthwise_channels_s16(const dfq_conv2d_s16sn_mve_t *layer, const int8_t *weight,
                                               const dfq_half_t *x, int32_t row_pitch, int8_t *out, int32_t place,
                                               int32_t c, bool whole)
{
    const dfq_conv2d_s16sn_t *conv = &layer->conv;
    const dfq_requantize_s16_t *form = &conv->requantize;
    const int32_t channels = conv->in_channels;
    const int32_t step = conv->stride_x * channels;
    const int32_t tap_pitch = conv->dilation_x * channels;
    const mve_pred16_t lanes = vctp32q((uint32_t)(channels - c));
    const int32x4_t bias = vldrwq_s32(conv->bias + c);
    const int32x4_t multipliers = vldrwq_s32(layer->multipliers + c);
    const int32x4_t lo = form->los != NULL ? vldrhq_z_s32(form->los + c, lanes) : vdupq_n_s32(form->lo);
    const int32x4_t hi = form->his != NULL ? vldrhq_z_s32(form->his + c, lanes) : vdupq_n_s32(form->hi);
    const int16_t *from = x + c;
    place += c;
    for (int32_t ox = 0; ox < conv->out_width; ox++, from += step, place += channels) {
        int32x4_t sum = bias;
        const int8_t *w = weight + c;
        for (int32_t ky = 0; ky < conv->kernel_height; ky++) {
            for (int32_t kx = 0; kx < conv->kernel_width; kx++, w += channels) {
                const int16_t *tap = from + ky * row_pitch + kx * tap_pitch;
                const int32x4_t taps = whole ? vldrhq_s32(tap) : vldrhq_z_s32(tap, lanes);
                const int32x4_t weights = whole ? vldrbq_s32(w) : vldrbq_z_s32(w, lanes);
                sum = vaddq_s32(sum, vmulq_s32(taps, weights));
            }
        }
        sum = vshlq_r_s32(sum, form->pre_shift);
        sum = vaddq_n_s32(vrmulhq_s32(sum, multipliers), form->zero_point);
        sum = vminq_s32(vmaxq_s32(sum, lo), hi);
        if (conv->out_wide) {
            vstrhq_p_s32((int16_t *)(void *)(out + 2 * place), sum, lanes);
        } else {
            vstrbq_p_s32(out + place, sum, lanes);
        }
    }
}

#endif

/* One filter a channel, four channels at a time. */
DFQ_INLINE void dfq_mve_depthwise_row_s16(const dfq_conv2d_s16sn_mve_t *layer, const int8_t *weight,
                                          const dfq_half_t *x, int32_t row_pitch, int8_t *out, int32_t place)
{
    const int32_t channels = layer->conv.in_channels;
#if DFQ_MVE
    int32_t c = 0;
    for (; c + 4 <= channels; c += 4) {
        dfq_mve_depthwise_channels_s16(layer, weight, x, row_pitch, out, place, c, true);
    }
    if (c < channels) {
        dfq_mve_depthwise_channels_s16(layer, weight, x, row_pitch, out, place, c, false);
    }
#else
    const dfq_conv2d_s16sn_t *conv = &layer->conv;
    for (int32_t ox = 0; ox < conv->out_width; ox++, place += channels) {
        for (int32_t c = 0; c < channels; c++) {
            const dfq_half_t *from = x + ox * conv->stride_x * channels + c;
            const int8_t *w = weight + c;
            uint32_t sum = 0;
            for (int32_t ky = 0; ky < conv->kernel_height; ky++) {
                for (int32_t kx = 0; kx < conv->kernel_width; kx++, w += channels) {
                    sum += (uint32_t)(from[ky * row_pitch + kx * conv->dilation_x * channels] * *w);
                }
            }
            const int32_t acc = (int32_t)sum;
            dfq_mve_finish_s16(layer, &acc, c, 1, place + c, out);
        }
    }
#endif
}

DFQ_KERNEL void dfq_depthwise_s16sn_mve(const dfq_conv2d_s16sn_mve_t *layer, const int8_t *x, int8_t *out,
                                        int8_t *scratch)
{
    const dfq_conv2d_s16sn_t *conv = &layer->conv;
    const int32_t pitch = dfq_depthwise_row_pixels(conv) * conv->in_channels;
    const int8_t *weight = dfq_depthwise_bytes(conv, scratch);
    for (int32_t oy = 0; oy < conv->out_height; oy++) {
        dfq_half_t *rows = (dfq_half_t *)(void *)scratch;
        dfq_gather_rows_s16(conv, x, oy, rows);
        dfq_mve_depthwise_row_s16(layer, weight, rows, pitch, out, oy * conv->out_width * conv->in_channels);
    }
}

#endif
