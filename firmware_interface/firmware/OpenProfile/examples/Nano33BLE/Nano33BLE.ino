// Arduino Nano 33 BLE, first revision: its accelerometer, an LSM9DS1, at 238 Hz and +-4 g through the sensor's FIFO.
// (Rev2 has another sensor. The stock library polls without the FIFO and loses samples: Arduino_LSM9DS1 issue 3.)
#include <OpenProfileBoard.h>
#include <Wire.h>

constexpr uint8_t IMU = 0x6B;
constexpr uint32_t RATE = 238;
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
    Wire1.begin();
    Wire1.setClock(400000);
    set(0x22, 0x44);  // CTRL_REG8: whole samples only, addresses count up
    set(0x20, 0x90);  // CTRL_REG6_XL: 238 Hz, +-4 g
    set(0x23, 0x02);  // CTRL_REG9: FIFO on
    set(0x2E, 0xC0);  // FIFO_CTRL: the oldest give way
    snprintf(serial, sizeof serial, "%08lX%08lX", static_cast<unsigned long>(NRF_FICR->DEVICEID[1]),
             static_cast<unsigned long>(NRF_FICR->DEVICEID[0]));
    size_t length = op_info_begin(info, sizeof info);
    length = op_info_text(info, length, sizeof info, OP_NAME, "Nano 33 BLE");
    length = op_info_text(info, length, sizeof info, OP_SERIAL, serial);
    length = op_info_text(info, length, sizeof info, OP_FIRMWARE, "1.0.0");
    length = op_info_stream(info, length, sizeof info, 0, OP_ACC, OP_G, 3, RATE, G_PER_COUNT, "acc");
    length = op_info_channel(info, length, sizeof info, 0, 0, "x");
    length = op_info_channel(info, length, sizeof info, 0, 1, "y");
    length = op_info_channel(info, length, sizeof info, 0, 2, "z");
    while (!board.begin("Nano33", info, length)) delay(1000);
}

void loop() {
    uint8_t state, bytes[6];
    board.poll();
    get(0x2F, &state, 1);  // FIFO_SRC
    const uint32_t now_us = micros();
    if (state & 0x40) index_++;  // overrun: how many were lost the sensor does not say, so it is one at least
    for (uint32_t left = state & 0x3F; left > 0; left--) {
        int16_t sample[3];
        get(0x28, bytes, sizeof bytes);  // OUT_X_L_XL
        for (int c = 0; c < 3; c++) sample[c] = static_cast<int16_t>(bytes[2 * c] | bytes[2 * c + 1] << 8);
        board.add(sample, index_++, now_us - (left - 1) * 1000000 / RATE);
    }
}
