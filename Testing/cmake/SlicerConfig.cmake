# Test-only stand-in for Slicer's own CMake package, so that the extension can be configured where there is no Slicer.
# It does what matters for packaging: it copies the listed files as Slicer does and writes down the metadata it was given.
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer/qt-scripted-modules)
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/WriteMetadata.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/CheckPackageFiles.cmake)
