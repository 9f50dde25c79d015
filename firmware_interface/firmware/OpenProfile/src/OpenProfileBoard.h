// The open profile on ArduinoBLE: one stream, from samples to notifications. Used by the examples beside it.
//
// Rules: whoever samples calls `add` from the loop, with the index and the time of each sample, so that what was not
// sampled shows as a jump of the index. Indices run on while nobody listens. STOP, or the end of a link, ends the
// sending. ArduinoBLE waits for its radio, so samples must wait meanwhile in a buffer that an interrupt, a task or the
// sensor itself fills.
#pragma once

#include <Arduino.h>
#include <ArduinoBLE.h>
#include <open_profile.h>

// A notification longer than the MTU less 3 would be cut in silence, and ArduinoBLE does not tell the MTU in force.
// macOS agrees on 185, others on more.
constexpr size_t OP_PAYLOAD = 180;
constexpr size_t OP_INFO_MAX = 256;

class OpenProfileBoard {
  public:
    OpenProfileBoard(uint8_t channels, uint32_t rate) : _channels(channels), _rate(rate) {}

    // Advertise as `name`. False where the radio does not start. `info` is what op_info_... wrote.
    bool begin(const char *name, const uint8_t *info, size_t length) {
        if (length == 0 || !BLE.begin()) return false;
        BLE.setLocalName(name);
        BLE.setDeviceName(name);
        BLE.setConnectionInterval(6, 24);  // 7.5 to 30 ms, in units of 1.25 ms
        BLE.setAdvertisedService(_service);
        _service.addCharacteristic(_info);
        _service.addCharacteristic(_control);
        _service.addCharacteristic(_data);
        _service.addCharacteristic(_status);
        BLE.addService(_service);
        _info.writeValue(info, length);
        return BLE.advertise();
    }

    // Hear the host; call it as often as the loop turns.
    void poll() {
        BLE.poll();
        if (!BLE.connected()) _sending = false;
        if (_control.written()) answer(_control.value(), _control.valueLength());
        if (_sending && millis() - _status_ms >= 1000) tell_status();
    }

    // One sample of all channels. `index` counts sample periods since switching on, sampled or not.
    void add(const int16_t *sample, uint32_t index, uint32_t device_us) {
        if (index != _next && _count) flush();
        if (index != _next) {
            _overrun = true;
            _overruns++;
        }
        _next = index + 1;
        if (_starting) reply_to_start(index);
        if (!_sending) return;
        if (_count == 0) _header = {0, 0, _sequence, index, device_us};
        for (uint8_t c = 0; c < _channels; c++) {
            int16_t value = _testing ? op_test_signal(index, _rate) : sample[c];
            _samples[_count * _channels + c] = value;
            if (value == INT16_MIN || value == INT16_MAX) _header.flags |= OP_CLIPPED;
        }
        if (++_count >= capacity()) flush();
    }

    // Per cent, or OP_BATTERY_UNKNOWN.
    uint8_t battery = OP_BATTERY_UNKNOWN;
    // Bit n: channel n has lost contact.
    uint32_t lead_off = 0;

  private:
    size_t capacity() const { return (OP_PAYLOAD - OP_HEADER) / (2 * _channels); }

    void answer(const uint8_t *request, size_t length) {
        if (length < 2) return;
        uint8_t result = OP_DONE;
        bool one = length == 3;
        if (request[0] == OP_START && one && (request[2] & 1)) {
            _starting = true;  // answered at the next sample, whose index the answer names
            _reference = request[1];
            return;
        } else if (request[0] == OP_STOP) {
            _sending = _starting = false;
            _count = 0;
        } else if (request[0] == OP_TEST_SIGNAL && one && request[2] <= 1) {
            _testing = request[2] == 1;
        } else {
            result = request[0] == OP_START || request[0] == OP_TEST_SIGNAL ? OP_BAD_ARGUMENT : OP_UNKNOWN_OPCODE;
        }
        uint8_t out[3];
        _control.writeValue(out, op_reply(out, sizeof out, request[0], request[1], result, nullptr, nullptr, 0));
    }

    void reply_to_start(uint32_t index) {
        const uint8_t stream = 0;
        uint8_t out[8];
        _starting = false;
        _sending = true;
        _count = 0;
        _control.writeValue(out, op_reply(out, sizeof out, OP_START, _reference, OP_DONE, &stream, &index, 1));
        tell_status();
    }

    void flush() {
        uint8_t out[OP_PAYLOAD];
        if (_overrun) _header.flags |= OP_OVERRUN;
        size_t length = op_data(out, sizeof out, &_header, _samples, _channels, _count);
        _sequence++;
        _count = 0;
        _overrun = false;
        if (!_data.writeValue(out, length)) _drops++;
    }

    void tell_status() {
        uint8_t out[OP_STATUS_SIZE];
        _status_ms = millis();
        _status.writeValue(
            out, op_status(out, sizeof out, battery, lead_off, _overruns, _drops, OP_TEMPERATURE_UNKNOWN));
    }

    const uint8_t _channels;
    const uint32_t _rate;
    BLEService _service{OP_SERVICE};
    BLECharacteristic _info{OP_INFO, BLERead, OP_INFO_MAX};
    BLECharacteristic _control{OP_CONTROL, BLEWrite | BLEIndicate, 20};
    BLECharacteristic _data{OP_DATA, BLENotify, OP_PAYLOAD};
    BLECharacteristic _status{OP_STATUS, BLENotify, OP_STATUS_SIZE};
    op_header _header{};
    int16_t _samples[(OP_PAYLOAD - OP_HEADER) / 2];
    size_t _count = 0;
    uint32_t _next = 0;
    uint32_t _status_ms = 0;
    uint16_t _sequence = 0, _overruns = 0, _drops = 0;
    uint8_t _reference = 0;
    bool _sending = false, _starting = false, _testing = false, _overrun = false;
};
