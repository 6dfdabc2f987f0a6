# Test-only: Slicer refuses to package an extension whose readme or license file does not exist.
foreach(file ${EXTENSION_README_FILE} ${EXTENSION_LICENSE_FILE})
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "Points to a nonexistent file: ${file}")
  endif()
endforeach()
