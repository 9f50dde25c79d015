// ESP32 with an analogue EMG front end (BioAmp EXG Pill, MyoWare 2.0 RAW): 1 kHz, in counts of the converter.
// Not calibrated, so the unit is count. Power it from a battery, never from the mains while worn.
#include <OpenProfileBoard.h>

constexpr int EMG_PIN = 34;  // of ADC1: ADC2 belongs to the radio
constexpr uint32_t RATE = 1000;
constexpr uint32_t WAITING = 256;  // samples, a power of two: a quarter of a second in which the radio may be busy

OpenProfileBoard board(1, RATE);

struct Sample {
    int16_t value;
    uint32_t index, us;
};
Sample waiting[WAITING];
volatile uint32_t taken = 0, given = 0;  // one writer each

// Every millisecond by the tick of FreeRTOS. The index comes from the clock: a tick that was missed is counted.
void sample(void *) {
    const int64_t begun_us = esp_timer_get_time();
    TickType_t last = xTaskGetTickCount();
    for (;;) {
        vTaskDelayUntil(&last, pdMS_TO_TICKS(1));
        const int64_t us = esp_timer_get_time();
        const int16_t value = analogRead(EMG_PIN) - 2048;
        if (taken - given < WAITING) {
            const uint32_t index = (us - begun_us + 500) * RATE / 1000000;
            waiting[taken % WAITING] = {value, index, static_cast<uint32_t>(us)};
            __sync_synchronize();
            taken = taken + 1;
        }
    }
}

void setup() {
    uint8_t info[OP_INFO_MAX];
    char serial[13];
    const uint64_t mac = ESP.getEfuseMac();
    snprintf(serial, sizeof serial, "%04X%08X", static_cast<unsigned>(mac >> 32), static_cast<unsigned>(mac));
    analogReadResolution(12);
    size_t length = op_info_begin(info, sizeof info);
    length = op_info_text(info, length, sizeof info, OP_NAME, "ESP32 EMG");
    length = op_info_text(info, length, sizeof info, OP_SERIAL, serial);
    length = op_info_text(info, length, sizeof info, OP_FIRMWARE, "1.0.0");
    length = op_info_stream(info, length, sizeof info, 0, OP_EMG, OP_COUNT, 1, RATE, 1.0f, "emg");
    while (!board.begin("EMG", info, length)) delay(1000);
    xTaskCreatePinnedToCore(sample, "sample", 4096, nullptr, 20, nullptr, 1);
}

void loop() {
    static uint32_t last_index = UINT32_MAX;
    board.poll();
    while (given != taken) {
        const Sample next = waiting[given % WAITING];
        __sync_synchronize();
        given = given + 1;
        if (next.index != last_index) board.add(&next.value, next.index, next.us);  // two ticks in one millisecond
        last_index = next.index;
    }
    delay(1);
}
