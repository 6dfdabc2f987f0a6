# Test-only: what Slicer would put into the extension's description, as `KEY=value` lines.
file(WRITE ${CMAKE_BINARY_DIR}/metadata.txt "NAME=${PROJECT_NAME}\n")
foreach(key HOMEPAGE CATEGORY CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS STATUS)
  file(APPEND ${CMAKE_BINARY_DIR}/metadata.txt "${key}=${EXTENSION_${key}}\n")
endforeach()
