#pragma once
#include <Arduino.h>
struct TwoWire {
    void begin();
    void setClock(uint32_t);
    void beginTransmission(uint8_t);
    size_t write(uint8_t);
    uint8_t endTransmission(bool = true);
    size_t requestFrom(uint8_t, size_t);
    int read();
};
extern TwoWire Wire1;
