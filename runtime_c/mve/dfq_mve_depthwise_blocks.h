/* SPDX-License-Identifier: MIT-0 */
/* Depthwise convolution on Helium: up to 16 channels of a pass, from their strip to int8 results.
 *
 * What a strip, a unit and a pass are, and how weights lie: dfq_depthwise_s8s8_mve.h.
 */
#ifndef DFQ_MVE_DEPTHWISE_BLOCKS_H
#define DFQ_MVE_DEPTHWISE_BLOCKS_H

#include "dfq_mve.h"

typedef struct {
    dfq_mve_linear_t linear;
    int32_t in_height;
    int32_t in_width;
    int32_t out_height;
    int32_t out_width;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_y;
    int32_t stride_x;
    int32_t dilation_y;
    int32_t dilation_x;
    int32_t pad_top;
    int32_t pad_left;
    int32_t pad_value;
    int32_t strip_columns; /* of a unit */
    int32_t pass_units;
} dfq_depthwise_s8s8_mve_t;

/* A group of eight results of a channel: how far from the last group's they go, and which of them exist. */
typedef struct {
    int32_t step;
    int32_t lanes;
} dfq_mve_group_t;

/* What all channels of a pass share. */
typedef struct {
    int32_t unit_rows;
    int32_t unit_groups;
    int32_t rows;
    int32_t units;
    int32_t plain_step;
    int32_t *line;
    dfq_mve_group_t *layout;
    int8_t *strip;
} dfq_mve_pass_t;

#if DFQ_MVE

/* What the assembly works on: some channels of a pass. Pointers move from channel to channel. */
typedef struct {
    const int8_t *weight;          /* 0 */
    const int32_t *bias;           /* 4 */
    const int32_t *multipliers;    /* 8 */
    int32_t count;                 /* 12: channels */
    int32_t unit_groups;           /* 16 */
    int32_t *line;                 /* 20: accumulators [unit][group][2][4] */
    int32_t zero_point;            /* 24 */
    int8_t *out;                   /* 28 */
    int32_t groups;                /* 32: of all units */
    const dfq_mve_group_t *layout; /* 36 */
    int32_t bounded;               /* 40: los and his are there */
    int32_t pre_shift;             /* 44: looked at only then */
    const int8_t *los;             /* 48 */
    const int8_t *his;             /* 52 */
    int32_t units;                 /* 56 */
    int32_t units_left;            /* 60 */
    uint32_t words[4];             /* 64: addresses of the first patch's words, one patch too low */
    uint16_t places[8];            /* 80: of a group's results, even lanes from the first vector of the line */
    int32_t skip;                  /* 96: bytes from the end of a unit's last patch to the next unit's first */
    int32_t plain_step;            /* 100: between groups that are all whole and equally far apart, else 0 */
} dfq_mve_depthwise_job_t;

typedef char dfq_mve_depthwise_job_is_laid_out[offsetof(dfq_mve_depthwise_job_t, plain_step) == 100 ? 1 : -1];

/* q0 and r0 = the weights of a 3x3 kernel, [4 columns][4 rows], and zero; q4 the words' addresses. */
#define DFQ_MVE_DW_WEIGHTS      \
    "movs r0, #0\n\t"           \
    "vldrb.8 q0, [r5], #12\n\t" \
    "vmov q4, q7\n\t"           \
    "vmov.32 q0[3], r0\n\t"

/* On to the next unit's strip, or label 10. */
#define DFQ_MVE_DW_NEXT_UNIT  \
    "ldr r0, [r11, #60]\n\t"  \
    "subs r0, #1\n\t"         \
    "beq 10f\n\t"             \
    "str r0, [r11, #60]\n\t"  \
    "ldr r1, [r11, #16]\n\t"  \
    "ldr r2, [r11, #96]\n\t"  \
    "vadd.i32 q4, q4, r2\n\t" \
    "b 2b\n\t"                \
    "10:\n\t"

/* A 4x4 patch gives 2x2 outputs: the weights as they are, a column to the right, a row down, both. */
#define DFQ_MVE_DW_PATCHES                              \
    DFQ_MVE_DW_WEIGHTS                                  \
    "vmov q1, q0\n\t"                                   \
    "vshl.i32 q2, q0, #8\n\t"                           \
    "vshlc q1, r0, #32\n\t"                             \
    "vshl.i32 q3, q1, #8\n\t"                           \
    "2:\n\t"                                            \
    "vldrw.u32 q5, [q4, #128]!\n\t"                     \
    "vmladav.s8 r0, q5, q0\n\t"                         \
    "vmladav.s8 r2, q5, q1\n\t"                         \
    "vldrw.u32 q6, [q4, #128]!\n\t"                     \
    "vmladav.s8 r8, q5, q2\n\t"                         \
    "vmladav.s8 r10, q5, q3\n\t"                        \
    "vmladav.s8 r4, q6, q0\n\t"                         \
    "vmladav.s8 r6, q6, q1\n\t"                         \
    "vmladav.s8 r12, q6, q2\n\t"                        \
    "vmladav.s8 lr, q6, q3\n\t"                         \
    "subs r1, #1\n\t"                                   \
    "stmia r3!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t" \
    "bne 2b\n\t" DFQ_MVE_DW_NEXT_UNIT

/* clang-format off */
/* At stride 2 a patch is one output; even ones go to the first vector. */
#define DFQ_MVE_DW_WINDOW(acc, q) "vldrw.u32 " q ", [q4, #128]!\n\tvmladav.s8 " acc ", " q ", q0\n\t"
#define DFQ_MVE_DW_WINDOWS                                                                      \
    DFQ_MVE_DW_WEIGHTS                                                                          \
    "2:\n\t"                                                                                    \
    DFQ_MVE_DW_WINDOW("r0", "q5") DFQ_MVE_DW_WINDOW("r8", "q6") DFQ_MVE_DW_WINDOW("r2", "q5")   \
    DFQ_MVE_DW_WINDOW("r10", "q6") DFQ_MVE_DW_WINDOW("r4", "q5") DFQ_MVE_DW_WINDOW("r12", "q6") \
    DFQ_MVE_DW_WINDOW("r6", "q5") DFQ_MVE_DW_WINDOW("lr", "q6")                                 \
    "subs r1, #1\n\t"                                                                           \
    "stmia r3!, {r0, r2, r4, r6, r8, r10, r12, lr}\n\t"                                         \
    "bne 2b\n\t" DFQ_MVE_DW_NEXT_UNIT

/* A group becomes bytes; all groups do, all lanes alike at steps of r10 or, where that is 0, as laid out. */
#define DFQ_MVE_DW_GROUP(shift, saturate) \
    "vldrw.32 q0, [r3], #16\n\t"          \
    "vldrw.32 q1, [r3], #16\n\t" shift    \
    "vadd.i32 q0, q0, r0\n\t"             \
    "vadd.i32 q1, q1, r0\n\t"             \
    "vrmulh.s32 q0, q0, q3\n\t"           \
    "vrmulh.s32 q1, q1, q3\n\t"           \
    "vqmovnb.s32 q0, q0\n\t"              \
    "vqmovnt.s32 q0, q1\n\t"              \
    "vqadd.s16 q0, q0, r4\n\t" saturate
#define DFQ_MVE_DW_GROUPS(shift, saturate)     \
    "dls lr, r8\n\t"                           \
    "cmp r10, #0\n\t"                          \
    "beq 4f\n\t"                               \
    "3:\n\t" DFQ_MVE_DW_GROUP(shift, saturate) \
    "vstrb.16 q0, [r6, q6]\n\t"                \
    "add r6, r10\n\t"                          \
    "le lr, 3b\n\t"                            \
    "b 9f\n\t"                                 \
    "4:\n\t" DFQ_MVE_DW_GROUP(shift, saturate) \
    "ldrd r2, r10, [r12], #8\n\t"              \
    "vmsr p0, r10\n\t"                         \
    "add r6, r2\n\t"                           \
    "vpst\n\t"                                 \
    "vstrbt.16 q0, [r6, q6]\n\t"               \
    "le lr, 4b\n\t"

/* `sums` fills the line of a channel: r1 groups, r3 line, r5 weights. Between channels r5 weights, r7 bias,
 * r9 multipliers, r11 job, q7 words. */
#define DFQ_MVE_DEPTHWISE(name, sums)                                                        \
    DFQ_MVE_NAKED void name(DFQ_UNUSED dfq_mve_depthwise_job_t *job)                         \
    {                                                                                        \
        __asm__ volatile("push {r3-r11, lr}\n\t"                                             \
                         "vpush {d8-d15}\n\t"                                                \
                         "mov r11, r0\n\t"                                                   \
                         "ldm r11, {r5, r7, r9}\n\t"                                         \
                         "vldrw.32 q7, [r11, #64]\n\t"                                       \
                         "1:\n\t"                                                            \
                         "ldr r2, [r11, #56]\n\t"                                            \
                         "str r2, [r11, #60]\n\t"                                            \
                         "ldrd r1, r3, [r11, #16]\n\t" sums                                  \
                         "add r12, r11, #20\n\t"                                             \
                         "ldm r12, {r3, r4, r6, r8, r12}\n\t"                                \
                         "adds r2, r6, #1\n\t"                                               \
                         "str r2, [r11, #28]\n\t"                                            \
                         "movs r2, #4\n\t"                                                   \
                         "vadd.i32 q7, q7, r2\n\t"                                           \
                         "vldrw.32 q6, [r11, #80]\n\t"                                       \
                         "ldr r0, [r7], #4\n\t"                                              \
                         "ldr r2, [r9], #4\n\t"                                              \
                         "vdup.32 q3, r2\n\t"                                                \
                         "ldr r2, [r11, #40]\n\t"                                            \
                         "ldr r10, [r11, #100]\n\t"                                          \
                         "cmp r2, #0\n\t"                                                    \
                         "bne 5f\n\t"                                                        \
                         DFQ_MVE_DW_GROUPS("", "vqmovnb.s16 q0, q0\n\t")                     \
                         "b 9f\n\t"                                                          \
                         "5:\n\t"                                                            \
                         "ldrd r1, r2, [r11, #48]\n\t"                                       \
                         "ldrsb lr, [r1], #1\n\t"                                            \
                         "vdup.16 q4, lr\n\t"                                                \
                         "ldrsb lr, [r2], #1\n\t"                                            \
                         "vdup.16 q5, lr\n\t"                                                \
                         "strd r1, r2, [r11, #48]\n\t"                                       \
                         "ldr r1, [r11, #44]\n\t"                                            \
                         DFQ_MVE_DW_GROUPS("vshl.s32 q0, r1\n\tvshl.s32 q1, r1\n\t",         \
                                           "vmax.s16 q0, q0, q4\n\tvmin.s16 q0, q0, q5\n\t") \
                         "9:\n\t"                                                            \
                         "ldr r2, [r11, #12]\n\t"                                            \
                         "subs r2, #1\n\t"                                                   \
                         "str r2, [r11, #12]\n\t"                                            \
                         "bne 1b\n\t"                                                        \
                         "vpop {d8-d15}\n\t"                                                 \
                         "pop {r3-r11, pc}");                                                \
    }
/* clang-format on */

DFQ_MVE_DEPTHWISE(dfq_mve_depthwise_patches, DFQ_MVE_DW_PATCHES)
DFQ_MVE_DEPTHWISE(dfq_mve_depthwise_windows, DFQ_MVE_DW_WINDOWS)
DFQ_MVE_DEPTHWISE(dfq_mve_depthwise_finish, "")

/* A job for `count` channels from c of a pass; `out` is that of channel 0. */
DFQ_INLINE void dfq_mve_depthwise_job(dfq_mve_depthwise_job_t *job, const dfq_depthwise_s8s8_mve_t *layer,
                                      const dfq_mve_pass_t *pass, int32_t c, int32_t count, int8_t *out)
{
    const dfq_mve_linear_t *linear = &layer->linear;
    const uint16_t channels = (uint16_t)linear->channels;
    const uint16x8_t index = vidupq_n_u16(0, 1);
    job->weight = linear->weight + 12 * c;
    job->bias = linear->bias + c;
    job->multipliers = linear->multipliers + c;
    job->count = count;
    job->unit_groups = pass->unit_groups;
    job->line = pass->line;
    job->zero_point = linear->zero_point;
    job->out = out + c;
    job->groups = pass->units * pass->unit_groups;
    job->layout = pass->layout;
    job->bounded = linear->los != NULL;
    job->pre_shift = linear->pre_shift;
    job->los = job->bounded ? linear->los + c : NULL;
    job->his = job->bounded ? linear->his + c : NULL;
    job->units = pass->units;
    job->plain_step = pass->plain_step;
    vstrwq_u32(job->words, vaddq_n_u32(vmulq_n_u32(vidupq_n_u32(0, 1), 64u * (uint32_t)layer->dilation_x),
                                       (uint32_t)(uintptr_t)pass->strip - 128u));
    if (pass->unit_rows == 2) {
        /* Lanes of the second row are the odd ones. */
        const uint16x8_t rows = vmulq_n_u16(vandq_u16(index, vdupq_n_u16(1)), (uint16_t)(layer->out_width * channels));
        vstrhq_u16(job->places, vaddq_u16(vmulq_n_u16(vshrq_n_u16(index, 1), channels), rows));
        job->skip = 64 * (layer->strip_columns - 4 * pass->unit_groups);
    } else {
        vstrhq_u16(job->places, vmulq_n_u16(index, channels));
        job->skip = 64 * (layer->strip_columns - 16 * pass->unit_groups);
    }
}

/* `count` channels from c of a pass; `out` is that of channel 0. */
DFQ_SHARED void dfq_mve_depthwise_3x3_block(const dfq_depthwise_s8s8_mve_t *layer, const dfq_mve_pass_t *pass,
                                            int32_t c, int32_t count, int8_t *out)
{
    dfq_mve_depthwise_job_t job;
    dfq_mve_depthwise_job(&job, layer, pass, c, count, out);
    dfq_mve_depthwise_patches(&job);
}

/* The same at stride_x 2, when the kernel has three columns and at most four rows. */
DFQ_SHARED void dfq_mve_depthwise_stride_2_block(const dfq_depthwise_s8s8_mve_t *layer, const dfq_mve_pass_t *pass,
                                                 int32_t c, int32_t count, int8_t *out)
{
    dfq_mve_depthwise_job_t job;
    dfq_mve_depthwise_job(&job, layer, pass, c, count, out);
    dfq_mve_depthwise_windows(&job);
}

/* The same for any kernel. */
DFQ_SHARED void dfq_mve_depthwise_block(const dfq_depthwise_s8s8_mve_t *layer, const dfq_mve_pass_t *pass, int32_t c,
                                        int32_t count, int8_t *out)
{
    const int8_t *strip = pass->strip;
    const int32_t row_groups = (layer->kernel_height + 3) >> 2;
    const int32_t column = 64 * row_groups;
    const int32_t pitch = layer->stride_x * column;
    const uint32x4_t taps = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)(layer->dilation_x * column));
    for (; count > 0; count--, c++, strip += 4) {
        dfq_mve_depthwise_job_t job;
        dfq_mve_depthwise_job(&job, layer, pass, c, 1, out);
        int32_t *line = pass->line;
        for (int32_t i = 0; i < 2 * job.groups; i++, line += 4) {
            /* Even pixels of a group, then odd ones. */
            const int8_t *w = layer->linear.weight + c * row_groups * 4 * layer->kernel_width;
            const int8_t *window = strip + (8 * (i >> 1) + (i & 1)) * pitch;
            int32_t a0 = 0;
            int32_t a1 = 0;
            int32_t a2 = 0;
            int32_t a3 = 0;
            for (int32_t g = 0; g < row_groups; g++, window += 64) {
                for (int32_t kx = 0; kx < layer->kernel_width; kx += 4) {
                    const int32_t columns = dfq_min(4, layer->kernel_width - kx);
                    const int8x16_t weights = vldrbq_z_s8(w, vctp8q((uint32_t)(4 * columns)));
                    const int8_t *at = window + kx * layer->dilation_x * column;
#define DFQ_MVE_PATCH(pixel) \
    vreinterpretq_s8_s32(vldrwq_gather_offset_s32((const int32_t *)(const void *)(at + 2 * (pixel) * pitch), taps))
                    a0 = vmladavaq_s8(a0, DFQ_MVE_PATCH(0), weights);
                    a1 = vmladavaq_s8(a1, DFQ_MVE_PATCH(1), weights);
                    a2 = vmladavaq_s8(a2, DFQ_MVE_PATCH(2), weights);
                    a3 = vmladavaq_s8(a3, DFQ_MVE_PATCH(3), weights);
                    w += 4 * columns;
                }
            }
            line[0] = a0;
            line[1] = a1;
            line[2] = a2;
            line[3] = a3;
        }
        dfq_mve_depthwise_finish(&job);
    }
}

#else /* the same in C */

/* `rows` output rows, one input row apart, from one strip. */
DFQ_NOINLINE void dfq_mve_depthwise_rows(const dfq_depthwise_s8s8_mve_t *layer, const int8_t *strip, int32_t c,
                                         int32_t count, int32_t rows, int8_t *out)
{
    const int32_t row_groups = (layer->kernel_height + 3) >> 2;
    for (int32_t i = 0; i < count * rows * layer->out_width; i++) {
        const int32_t channel = i % count;
        const int32_t ox = i / count % layer->out_width;
        const int32_t row = i / count / layer->out_width;
        const int8_t *w = layer->linear.weight + (c + channel) * row_groups * 4 * layer->kernel_width;
        int32_t acc = 0;
        for (int32_t ky = 0; ky < layer->kernel_height; ky++) {
            for (int32_t kx = 0; kx < layer->kernel_width; kx++) {
                const int32_t at = ox * layer->stride_x + kx * layer->dilation_x;
                const int32_t weight = w[((ky >> 2) * layer->kernel_width + kx) * 4 + (ky & 3)];
                const int32_t line = ky + row;
                acc += weight * strip[(at * row_groups + (line >> 2)) * 64 + 4 * channel + (line & 3)];
            }
        }
        out[(row * layer->out_width + ox) * layer->linear.channels + c + channel] =
            dfq_mve_requantize(&layer->linear, acc, c + channel, c + channel);
    }
}

/* All units of a pass. */
DFQ_SHARED void dfq_mve_depthwise_block(const dfq_depthwise_s8s8_mve_t *layer, const dfq_mve_pass_t *pass, int32_t c,
                                        int32_t count, int8_t *out)
{
    const int32_t unit_bytes = ((layer->kernel_height + 3) >> 2) * 64 * layer->strip_columns;
    for (int32_t unit = 0; unit < pass->units; unit++) {
        const int32_t row = unit * pass->unit_rows;
        dfq_mve_depthwise_rows(layer, pass->strip + unit * unit_bytes, c, count,
                               dfq_min(pass->unit_rows, pass->rows - row),
                               out + row * layer->out_width * layer->linear.channels);
    }
}
#define dfq_mve_depthwise_3x3_block dfq_mve_depthwise_block
#define dfq_mve_depthwise_stride_2_block dfq_mve_depthwise_block

#endif

#endif
