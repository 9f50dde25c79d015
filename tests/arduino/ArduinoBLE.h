#pragma once
#include <Arduino.h>
enum { BLERead = 2, BLEWrite = 8, BLENotify = 16, BLEIndicate = 32 };
struct BLECharacteristic {
    BLECharacteristic(const char *, uint16_t, int);
    int writeValue(const uint8_t *, int);
    bool written();
    const uint8_t *value() const;
    int valueLength() const;
};
struct BLEService {
    BLEService(const char *);
    void addCharacteristic(BLECharacteristic &);
};
struct BLELocalDevice {
    int begin();
    void poll();
    bool connected() const;
    void setLocalName(const char *);
    void setDeviceName(const char *);
    void setConnectionInterval(uint16_t, uint16_t);
    bool setAdvertisedService(const BLEService &);
    void addService(BLEService &);
    int advertise();
};
extern BLELocalDevice &BLE;
