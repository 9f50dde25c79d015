// As much of Arduino, ArduinoBLE, Wire, nRF and ESP32 as the sketches use: they are compiled against this, never run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#define OUTPUT 1
#define HIGH 1
void pinMode(int, int);
void digitalWrite(int, int);
int analogRead(int);
void analogReadResolution(int);
void delay(unsigned long);
unsigned long millis();
unsigned long micros();

struct Ficr {
    uint32_t DEVICEID[2];
};
extern Ficr *NRF_FICR;

using TickType_t = uint32_t;
#define pdMS_TO_TICKS(ms) (ms)
TickType_t xTaskGetTickCount();
void vTaskDelayUntil(TickType_t *, TickType_t);
int xTaskCreatePinnedToCore(void (*)(void *), const char *, uint32_t, void *, unsigned, void *, int);
int64_t esp_timer_get_time();
struct Esp {
    uint64_t getEfuseMac();
};
extern Esp ESP;
