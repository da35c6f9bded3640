/* SPDX-License-Identifier: MIT-0 */
/* QEMU plugin: how often every instruction ran, in each segment of the run.
 *
 *     -plugin libcount.so,out=FILE,probe=ADDRESS,segments=N
 *
 * The program calls the function at ADDRESS (hexadecimal) to begin the next segment; after N calls the segments
 * begin again at 0, and what runs before the first call is left out. FILE gets one line for each basic block
 * and segment in which it ran:
 *
 *     <segment> <times run> <times left by a jump> <address> <address> ...      (addresses in hexadecimal)
 *
 * Compiled on the host. QEMU ships the plugin header with its sources only, so the few functions of it that
 * are used are declared here; they are the same from API version 1 (QEMU 4.2) on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(DFQ_PLUGIN_API)
#define DFQ_PLUGIN_API 1
#endif

typedef uint64_t plugin_id;
struct qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, void (*callback)(unsigned, void *),
                                          enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*callback)(plugin_id, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *instruction);

#define EXPORT __attribute__((visibility("default")))

EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_version = DFQ_PLUGIN_API;
EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info_t *info, int argc, char **argv);

struct count {
    uint64_t runs;
    uint64_t jumps;
};

struct block {
    struct block *next;
    uint64_t end;           /* the address after the last instruction */
    size_t length;          /* instructions */
    uint64_t *addresses;    /* of each */
    struct count *segments; /* one each */
};

static struct block *blocks;
static struct block *last_run;
static const char *out_path;
static uint64_t probe_address;
static size_t segment_count;
static size_t segment; /* segment_count before the first probe */

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        fprintf(stderr, "count_plugin: out of memory\n");
        exit(2);
    }
    return memory;
}

static void on_run(unsigned cpu, void *data)
{
    struct block *block = data;
    (void)cpu;
    if (last_run != NULL && segment < segment_count && last_run->end != block->addresses[0]) {
        last_run->segments[segment].jumps++;
    }
    last_run = block;
    if (block->addresses[0] == probe_address) {
        segment = segment + 1 < segment_count ? segment + 1 : 0;
    }
    if (segment < segment_count) {
        block->segments[segment].runs++;
    }
}

/* A block may be translated again later; each translation counts for itself. */
static void on_translate(plugin_id id, struct qemu_plugin_tb *translated)
{
    struct block *block = allocate(1, sizeof *block);
    (void)id;
    block->length = qemu_plugin_tb_n_insns(translated);
    block->addresses = allocate(block->length, sizeof *block->addresses);
    block->segments = allocate(segment_count, sizeof *block->segments);
    for (size_t i = 0; i < block->length; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(translated, i);
        block->addresses[i] = qemu_plugin_insn_vaddr(instruction);
        block->end = block->addresses[i] + qemu_plugin_insn_size(instruction);
    }
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(translated, on_run, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void on_end(plugin_id id, void *data)
{
    FILE *out = fopen(out_path, "w");
    (void)id;
    (void)data;
    if (out == NULL) {
        fprintf(stderr, "count_plugin: cannot write %s\n", out_path);
        return;
    }
    for (const struct block *block = blocks; block != NULL; block = block->next) {
        for (size_t i = 0; i < segment_count; i++) {
            const struct count *count = &block->segments[i];
            if (count->runs == 0) {
                continue;
            }
            fprintf(out, "%zu %" PRIu64 " %" PRIu64, i, count->runs, count->jumps);
            for (size_t k = 0; k < block->length; k++) {
                fprintf(out, " %" PRIx64, block->addresses[k]);
            }
            fputc('\n', out);
        }
    }
    fclose(out);
}

static const char *argument(int argc, char **argv, const char *name)
{
    const size_t length = strlen(name);
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
            return argv[i] + length + 1;
        }
    }
    return NULL;
}

int qemu_plugin_install(plugin_id id, const struct qemu_info_t *info, int argc, char **argv)
{
    const char *out = argument(argc, argv, "out");
    const char *probe = argument(argc, argv, "probe");
    const char *segments = argument(argc, argv, "segments");
    (void)info;
    if (out == NULL || probe == NULL || segments == NULL || atoi(segments) < 1) {
        fprintf(stderr, "count_plugin: out=FILE,probe=ADDRESS,segments=N are needed\n");
        return 1;
    }
    out_path = strcpy(allocate(strlen(out) + 1, 1), out);
    probe_address = strtoull(probe, NULL, 16);
    segment_count = (size_t)atoi(segments);
    segment = segment_count;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
