/* The open profile, version 1 (docs/open-profile.md): the bytes that a board sends. C99 and C++; no heap, no clock.
 *
 * Rules: little endian on any machine. Each function returns how many bytes it wrote, or 0 where they do not fit,
 * and then nothing in `out` is of use. Info grows: each call takes the length so far, and a 0 stays 0.
 * Compared byte for byte with the Python codec in tests/test_firmware.py.
 */
#ifndef OPEN_PROFILE_H
#define OPEN_PROFILE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef OP_API
#define OP_API static inline
#endif

#define OP_SERVICE "fa5c0001-7a3d-4b1e-9d2f-6c8e51a0b7d4"
#define OP_INFO "fa5c0002-7a3d-4b1e-9d2f-6c8e51a0b7d4"
#define OP_CONTROL "fa5c0003-7a3d-4b1e-9d2f-6c8e51a0b7d4"
#define OP_DATA "fa5c0004-7a3d-4b1e-9d2f-6c8e51a0b7d4"
#define OP_STATUS "fa5c0005-7a3d-4b1e-9d2f-6c8e51a0b7d4"

#define OP_VERSION 1
#define OP_HEADER 12
#define OP_STATUS_SIZE 11
#define OP_DELTA_MAX 255 /* samples in a block of differences: the count is one byte */

enum { OP_NAME = 0x01, OP_SERIAL = 0x02, OP_FIRMWARE = 0x03, OP_STREAM = 0x10, OP_CHANNEL = 0x11 };
enum { OP_EMG = 1, OP_ACC = 2, OP_ECG = 3 };
enum { OP_COUNT = 0, OP_MICROVOLT = 1, OP_MILLIVOLT = 2, OP_G = 3, OP_METRE_PER_SECOND_SQUARED = 4 };
enum { OP_START = 0x01, OP_STOP = 0x02, OP_TEST_SIGNAL = 0x03 };
enum { OP_DONE = 0, OP_UNKNOWN_OPCODE = 1, OP_BAD_ARGUMENT = 2, OP_BUSY = 3 };
enum { OP_OVERRUN = 0x01, OP_LEAD_OFF_CHANGED = 0x02, OP_CLIPPED = 0x04, OP_DELTA = 0x08 };
enum { OP_BATTERY_UNKNOWN = 255, OP_TEMPERATURE_UNKNOWN = -128 };

/* What stands before the samples of a packet. */
typedef struct {
    uint8_t stream;
    uint8_t flags;
    uint16_t sequence;
    uint32_t index;
    uint32_t device_us;
} op_header;

OP_API void op_put16(uint8_t *out, uint16_t value) {
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

OP_API void op_put32(uint8_t *out, uint32_t value) {
    op_put16(out, (uint16_t)value);
    op_put16(out + 2, (uint16_t)(value >> 16));
}

OP_API void op_put_float(uint8_t *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    op_put32(out, bits);
}

/* Info ---------------------------------------------------------------------------------------------------------- */

/* One entry: `fixed` bytes of numbers, then text. */
OP_API size_t op_info_entry(uint8_t *out, size_t length, size_t size, uint8_t tag, const uint8_t *numbers,
                            size_t fixed, const char *text) {
    size_t value = fixed + strlen(text);
    if (length == 0 || value > 255 || length + 2 + value > size) return 0;
    out[length] = tag;
    out[length + 1] = (uint8_t)value;
    if (fixed) memcpy(out + length + 2, numbers, fixed);
    memcpy(out + length + 2 + fixed, text, value - fixed);
    return length + 2 + value;
}

OP_API size_t op_info_begin(uint8_t *out, size_t size) {
    if (size < 1) return 0;
    out[0] = OP_VERSION;
    return 1;
}

/* Tag is OP_NAME, OP_SERIAL or OP_FIRMWARE. */
OP_API size_t op_info_text(uint8_t *out, size_t length, size_t size, uint8_t tag, const char *text) {
    return op_info_entry(out, length, size, tag, NULL, 0, text);
}

/* Where the board is not calibrated, the unit is OP_COUNT and the scale 1. */
OP_API size_t op_info_stream(uint8_t *out, size_t length, size_t size, uint8_t stream, uint8_t sensor, uint8_t unit,
                             uint8_t channels, float rate_hz, float scale, const char *name) {
    uint8_t numbers[12];
    numbers[0] = stream;
    numbers[1] = sensor;
    numbers[2] = unit;
    numbers[3] = channels;
    op_put_float(numbers + 4, rate_hz);
    op_put_float(numbers + 8, scale);
    return op_info_entry(out, length, size, OP_STREAM, numbers, sizeof numbers, name);
}

OP_API size_t op_info_channel(uint8_t *out, size_t length, size_t size, uint8_t stream, uint8_t channel,
                              const char *label) {
    uint8_t numbers[2];
    numbers[0] = stream;
    numbers[1] = channel;
    return op_info_entry(out, length, size, OP_CHANNEL, numbers, sizeof numbers, label);
}

/* Control ------------------------------------------------------------------------------------------------------- */

/* `streams` and `indices` are of a START that was done: the first sample that each will send. */
OP_API size_t op_reply(uint8_t *out, size_t size, uint8_t opcode, uint8_t reference, uint8_t result,
                       const uint8_t *streams, const uint32_t *indices, size_t count) {
    size_t at, n;
    if (size < 3 + 5 * count) return 0;
    out[0] = (uint8_t)((opcode & 0x7F) | 0x80);
    out[1] = reference;
    out[2] = result;
    for (n = 0, at = 3; n < count; n++, at += 5) {
        out[at] = streams[n];
        op_put32(out + at + 1, indices[n]);
    }
    return at;
}

/* The test signal: a square wave of 1 Hz, of 1000 counts; `rate` is rounded to a whole number. */
OP_API int16_t op_test_signal(uint32_t index, uint32_t rate) {
    return ((uint64_t)2 * index / rate) % 2 ? -1000 : 1000;
}

/* Data ---------------------------------------------------------------------------------------------------------- */

OP_API void op_put_header(uint8_t *out, const op_header *header, uint8_t more_flags) {
    out[0] = (uint8_t)(OP_VERSION << 4 | header->stream);
    out[1] = (uint8_t)(header->flags | more_flags);
    op_put16(out + 2, header->sequence);
    op_put32(out + 4, header->index);
    op_put32(out + 8, header->device_us);
}

/* `samples` has all channels of the first sample, then all of the second, ...: `count` times `channels` numbers. */
OP_API size_t op_data(uint8_t *out, size_t size, const op_header *header, const int16_t *samples, size_t channels,
                      size_t count) {
    size_t n, total = channels * count;
    if (total == 0 || OP_HEADER + 2 * total > size) return 0;
    op_put_header(out, header, 0);
    for (n = 0; n < total; n++) op_put16(out + OP_HEADER + 2 * n, (uint16_t)samples[n]);
    return OP_HEADER + 2 * total;
}

/* Bits that hold every difference in two's complement. */
OP_API unsigned op_delta_width(const int16_t *samples, size_t channels, size_t total) {
    size_t n;
    unsigned width = 1;
    for (n = 0; n < total; n++) {
        int16_t delta = (int16_t)(uint16_t)((uint16_t)samples[n + channels] - (uint16_t)samples[n]);
        uint16_t size = (uint16_t)(delta < 0 ? ~delta : delta);
        while (size >> (width - 1)) width++;
    }
    return width;
}

/* The same packet as differences, in as few bits as each block of them needs. */
OP_API size_t op_data_delta(uint8_t *out, size_t size, const op_header *header, const int16_t *samples,
                            size_t channels, size_t count) {
    size_t n, done, at = OP_HEADER + 2 * channels;
    if (channels * count == 0 || at > size) return 0;
    op_put_header(out, header, OP_DELTA);
    for (n = 0; n < channels; n++) op_put16(out + OP_HEADER + 2 * n, (uint16_t)samples[n]);
    for (done = 1; done < count; done += OP_DELTA_MAX) {
        const int16_t *before = samples + (done - 1) * channels;
        size_t block = count - done < OP_DELTA_MAX ? count - done : OP_DELTA_MAX;
        size_t total = block * channels;
        unsigned width = op_delta_width(before, channels, total), filled = 0;
        uint32_t bits = 0;
        if (at + 2 + (width * total + 7) / 8 > size) return 0;
        out[at++] = (uint8_t)width;
        out[at++] = (uint8_t)block;
        for (n = 0; n < total; n++) {
            uint32_t delta = (uint16_t)((uint16_t)before[n + channels] - (uint16_t)before[n]);
            bits |= (delta & (((uint32_t)1 << width) - 1)) << filled;
            for (filled += width; filled >= 8; filled -= 8, bits >>= 8) out[at++] = (uint8_t)bits;
        }
        if (filled) out[at++] = (uint8_t)bits;
    }
    return at;
}

/* Status -------------------------------------------------------------------------------------------------------- */

OP_API size_t op_status(uint8_t *out, size_t size, uint8_t battery_percent, uint32_t lead_off, uint16_t overruns,
                        uint16_t drops, int8_t celsius) {
    if (size < OP_STATUS_SIZE) return 0;
    out[0] = OP_VERSION;
    out[1] = battery_percent;
    op_put32(out + 2, lead_off);
    op_put16(out + 6, overruns);
    op_put16(out + 8, drops);
    out[10] = (uint8_t)celsius;
    return OP_STATUS_SIZE;
}

#endif
