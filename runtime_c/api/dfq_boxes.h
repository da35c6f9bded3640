/* SPDX-License-Identifier: MIT-0 */
/* Boxes of a detector from its outputs, and non-maximum suppression. Floats; only boxes above the threshold are decoded.
 *
 * Describe the head once:
 *
 *     static const dfq_boxes_t head = {
 *         .kind = DFQ_BOXES_SSD, .count = 1917, .classes = 91, .background = 1,
 *         .anchors = anchors,                     [count][4]: centre x, centre y, width, height
 *         .center_scale = 10.0f, .size_scale = 5.0f,
 *         .sigmoid = 1, .score_threshold = 0.5f, .iou_threshold = 0.5f,
 *     };
 *     const dfq_head_t boxes = { out_boxes, SCALE, ZERO_POINT }, scores = { out_scores, SCALE, ZERO_POINT };
 *     dfq_box_t found[20];
 *     const int32_t n = dfq_decode_boxes(&head, &boxes, &scores, found, 20);
 *
 * SSD          boxes [count][4]: x, y, w, h; centre = anchor + d / center_scale * anchor size, size = anchor * exp(d /
 *              size_scale). With `y_first` the order is y, x, h, w, as in TensorFlow's.
 * BLAZEFACE    the same with size = d / size_scale * anchor size; more values a box (key points) may follow: `stride`.
 * YOLO         scores unused; boxes [rows][columns][priors][5 + classes]: x, y, w, h, objectness, classes, all logits;
 *              anchors are [priors][4], of which width and height count. `count` is rows * columns * priors.
 */
#ifndef DFQ_BOXES_H
#define DFQ_BOXES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "dfq_api.h"

enum { DFQ_BOXES_SSD, DFQ_BOXES_BLAZEFACE, DFQ_BOXES_YOLO };

typedef struct {
    int32_t kind;
    int32_t count;
    int32_t classes;    /* a box's scores, with background */
    int32_t background; /* classes in front that are no object: 0 or 1 */
    int32_t stride;     /* values of a box; 0 is 4 */
    int32_t y_first;
    int32_t sigmoid;               /* scores are logits; else probabilities */
    int32_t rows, columns, priors; /* YOLO */
    const float *anchors;
    float center_scale, size_scale;
    float score_threshold, iou_threshold;
} dfq_boxes_t;

/* An int8 output. */
typedef struct {
    const int8_t *values;
    float scale;
    int32_t zero_point;
} dfq_head_t;

/* Corners in the units of the anchors, mostly 0..1 of the image. */
typedef struct {
    float x1, y1, x2, y2, score;
    int32_t label; /* background not counted */
} dfq_box_t;

DFQ_API float dfq_real(const dfq_head_t *head, int32_t index)
{
    return head->scale * (float)(head->values[index] - head->zero_point);
}

DFQ_API float dfq_logistic(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

DFQ_API float dfq_overlap(const dfq_box_t *a, const dfq_box_t *b)
{
    const float w = fminf(a->x2, b->x2) - fmaxf(a->x1, b->x1);
    const float h = fminf(a->y2, b->y2) - fmaxf(a->y1, b->y1);
    if (w <= 0.0f || h <= 0.0f) {
        return 0.0f;
    }
    const float both = w * h;
    return both / ((a->x2 - a->x1) * (a->y2 - a->y1) + (b->x2 - b->x1) * (b->y2 - b->y1) - both);
}

/* Box `index` by its anchor; `at` is its first value. */
DFQ_API void dfq_place_box(const dfq_boxes_t *how, const dfq_head_t *boxes, int32_t index, int32_t at, dfq_box_t *box)
{
    const int32_t x_at = how->y_first && how->kind != DFQ_BOXES_YOLO ? 1 : 0;
    const float dx = dfq_real(boxes, at + x_at), dy = dfq_real(boxes, at + 1 - x_at);
    const float dw = dfq_real(boxes, at + 2 + x_at), dh = dfq_real(boxes, at + 3 - x_at);
    float x, y, w, h;
    if (how->kind == DFQ_BOXES_YOLO) {
        const float *prior = how->anchors + 4 * (index % how->priors);
        const int32_t cell = index / how->priors;
        x = ((float)(cell % how->columns) + dfq_logistic(dx)) / (float)how->columns;
        y = ((float)(cell / how->columns) + dfq_logistic(dy)) / (float)how->rows;
        w = prior[2] * expf(dw);
        h = prior[3] * expf(dh);
    } else {
        const float *anchor = how->anchors + 4 * index;
        x = anchor[0] + dx / how->center_scale * anchor[2];
        y = anchor[1] + dy / how->center_scale * anchor[3];
        w = anchor[2] * (how->kind == DFQ_BOXES_SSD ? expf(dw / how->size_scale) : dw / how->size_scale);
        h = anchor[3] * (how->kind == DFQ_BOXES_SSD ? expf(dh / how->size_scale) : dh / how->size_scale);
    }
    box->x1 = x - w / 2.0f;
    box->y1 = y - h / 2.0f;
    box->x2 = x + w / 2.0f;
    box->y2 = y + h / 2.0f;
}

/* Keep `box` among the `count` best of `room`, best first; gives the new count. */
DFQ_API int32_t dfq_keep_box(dfq_box_t *found, int32_t count, int32_t room, const dfq_box_t *box)
{
    if (count == room && (room == 0 || box->score <= found[room - 1].score)) {
        return count;
    }
    int32_t at = count < room ? count++ : room - 1;
    for (; at > 0 && found[at - 1].score < box->score; at--) {
        found[at] = found[at - 1];
    }
    found[at] = *box;
    return count;
}

/* Drop each box that overlaps a better one of its class too much; gives how many are left. */
DFQ_API int32_t dfq_suppress(dfq_box_t *found, int32_t count, float iou_threshold)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t better = 0;
        while (better < kept &&
               (found[better].label != found[i].label || dfq_overlap(&found[better], &found[i]) <= iou_threshold)) {
            better++;
        }
        if (better == kept) {
            found[kept++] = found[i];
        }
    }
    return kept;
}

/* The boxes above the threshold, best first, each with its best class; gives how many. Of more than `room` before
 * suppression the best ones count: make `room` a few times what can be in a picture. `scores` may be NULL for YOLO. */
DFQ_API int32_t dfq_decode_boxes(const dfq_boxes_t *how, const dfq_head_t *boxes, const dfq_head_t *scores,
                                 dfq_box_t *found, int32_t room)
{
    const int32_t yolo = how->kind == DFQ_BOXES_YOLO;
    const int32_t stride = yolo ? 5 + how->classes : how->stride != 0 ? how->stride : 4;
    int32_t count = 0;
    for (int32_t i = 0; i < how->count; i++) {
        const int32_t at = i * stride;
        const dfq_head_t *from = yolo ? boxes : scores;
        const int32_t skipped = yolo ? 0 : how->background;
        const int32_t first = yolo ? at + 5 : i * how->classes + skipped;
        const int32_t label = dfq_best(from->values + first, 0, how->classes - skipped);
        float score = dfq_real(from, first + label);
        if (yolo) {
            score = dfq_logistic(score) * dfq_logistic(dfq_real(boxes, at + 4));
        } else if (how->sigmoid) {
            score = dfq_logistic(score);
        }
        if (score < how->score_threshold) {
            continue;
        }
        dfq_box_t box;
        box.score = score;
        box.label = label;
        dfq_place_box(how, boxes, i, at, &box);
        count = dfq_keep_box(found, count, room, &box);
    }
    return dfq_suppress(found, count, how->iou_threshold);
}

#endif
