// XIAO nRF52840 Sense (mbed core): its accelerometer, an LSM6DS3TR-C, at 416 Hz and +-4 g through the sensor's FIFO.
#include <OpenProfileBoard.h>
#include <Wire.h>

constexpr uint8_t IMU = 0x6A;
constexpr int IMU_POWER = 15;  // P1.08
constexpr uint32_t RATE = 416;
constexpr float G_PER_COUNT = 0.000122f;  // at +-4 g (data sheet, table 3)

OpenProfileBoard board(3, RATE);
uint32_t index_ = 0;

void set(uint8_t address, uint8_t value) {
    Wire1.beginTransmission(IMU);
    Wire1.write(address);
    Wire1.write(value);
    Wire1.endTransmission();
}

void get(uint8_t address, uint8_t *out, size_t length) {
    Wire1.beginTransmission(IMU);
    Wire1.write(address);
    Wire1.endTransmission(false);
    Wire1.requestFrom(IMU, length);
    for (size_t n = 0; n < length; n++) out[n] = Wire1.read();
}

void setup() {
    uint8_t info[OP_INFO_MAX];
    char serial[17];
    pinMode(IMU_POWER, OUTPUT);
    digitalWrite(IMU_POWER, HIGH);
    delay(20);
    Wire1.begin();
    Wire1.setClock(400000);
    set(0x12, 0x44);  // CTRL3_C: whole samples only, addresses count up
    set(0x08, 0x01);  // FIFO_CTRL3: every sample of the accelerometer
    set(0x0A, 0x36);  // FIFO_CTRL5: 416 Hz, the oldest give way
    set(0x10, 0x68);  // CTRL1_XL: 416 Hz, +-4 g
    snprintf(serial, sizeof serial, "%08lX%08lX", static_cast<unsigned long>(NRF_FICR->DEVICEID[1]),
             static_cast<unsigned long>(NRF_FICR->DEVICEID[0]));
    size_t length = op_info_begin(info, sizeof info);
    length = op_info_text(info, length, sizeof info, OP_NAME, "XIAO Sense");
    length = op_info_text(info, length, sizeof info, OP_SERIAL, serial);
    length = op_info_text(info, length, sizeof info, OP_FIRMWARE, "1.0.0");
    length = op_info_stream(info, length, sizeof info, 0, OP_ACC, OP_G, 3, RATE, G_PER_COUNT, "acc");
    length = op_info_channel(info, length, sizeof info, 0, 0, "x");
    length = op_info_channel(info, length, sizeof info, 0, 1, "y");
    length = op_info_channel(info, length, sizeof info, 0, 2, "z");
    while (!board.begin("XIAO", info, length)) delay(1000);
}

void loop() {
    uint8_t state[2], bytes[6];
    board.poll();
    get(0x3A, state, sizeof state);                                                 // FIFO_STATUS1, 2
    const uint32_t words = state[0] | static_cast<uint32_t>(state[1] & 0x07) << 8;  // of 16 bits, three a sample
    const uint32_t now_us = micros();
    if (state[1] & 0x40) index_++;  // overrun: how many were lost the sensor does not say, so it is one at least
    for (uint32_t left = words / 3; left > 0; left--) {
        int16_t sample[3];
        get(0x3E, bytes, sizeof bytes);  // FIFO_DATA_OUT
        for (int c = 0; c < 3; c++) sample[c] = static_cast<int16_t>(bytes[2 * c] | bytes[2 * c + 1] << 8);
        board.add(sample, index_++, now_us - (left - 1) * 1000000 / RATE);
    }
}
